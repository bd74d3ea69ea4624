"""Error documents: reads code, message and request ID from the forms in which STS and servers like it refuse a call.

STS answers with XML, `ErrorResponse`. Stores that implement STS answer with `Error` as S3 does (MinIO, Ceph), or with
JSON (Ceph), and gateways of AWS with an element that is named for the error. Pure.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from broker.core.records import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CODE_AS_ELEMENT = re.compile(r"[A-Za-z]+(Exception|Fault)")
_CODE_KEYS = ("Code", "code", "__type", "errorCode")
_MESSAGE_KEYS = ("Message", "message", "errorMessage")
_REQUEST_ID_KEYS = ("RequestId", "requestId", "RequestID")


class ErrorDocument(Struct, frozen=True, kw_only=True):
    """An error as the server named it. Each field may be "". The texts are the server's: quote them with care."""

    code: str = ""
    message: str = ""
    request_id: str = ""


def read_xml_error(body: bytes) -> ErrorDocument | None:
    """Return the error in an XML document, or None if it has none. Raises ValueError if it is not XML.

    The caller bounds the size, and refuses documents that define entities.
    """
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - has no entities, see above; botocore uses the same parser
    try:
        parser.feed(body)
        root = parser.close()
    except ET.ParseError:
        raise ValueError("it is not XML") from None
    request_id = _find_text(root.iter(), _REQUEST_ID_KEYS)
    name = _local_name(root)
    if _CODE_AS_ELEMENT.fullmatch(name):
        return ErrorDocument(code=name, message=_find_text(root, _MESSAGE_KEYS), request_id=request_id)
    error = next((each for each in root.iter() if _local_name(each) == "Error"), None)
    if error is None:
        return None
    return ErrorDocument(
        code=_find_text(error, _CODE_KEYS), message=_find_text(error, _MESSAGE_KEYS), request_id=request_id
    )


def read_json_error(body: bytes) -> ErrorDocument | None:
    """Return the error in a JSON object; its fields are "" if it has none. None if the body is not a JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    inner = next((each for name in ("Error", "error") if isinstance(each := document.get(name), dict)), document)
    return ErrorDocument(
        code=_find_value(inner, _CODE_KEYS).rpartition("#")[2],  # AWS writes namespace#Code
        message=_find_value(inner, _MESSAGE_KEYS),
        request_id=_find_value(document, _REQUEST_ID_KEYS),
    )


def _local_name(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _find_text(elements: Iterable[ET.Element], names: tuple[str, ...]) -> str:
    """Return the text of the first element with one of these names, or ""."""
    return next(((each.text or "").strip() for each in elements if _local_name(each) in names), "")


def _find_value(document: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of these members as text, or "" if none is text or a number."""
    values = (document.get(name) for name in names)
    return next((str(each) for each in values if isinstance(each, str | int) and not isinstance(each, bool)), "")
