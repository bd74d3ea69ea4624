"""Point a copied root module at the sandbox's AWS account, with an override file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.terraform.workspace import Workspace

_SERVICES = ("cloudfront", "iam", "s3", "sts")
_KEYS = {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox"}


def point(
    workspace: Workspace, url: str, keys: Mapping[str, str] = _KEYS, *, partner: Mapping[str, str] | None = None
) -> None:
    """Write the override file.

    `keys` select the account. `partner` has the keys of the provider `aws.partner`, where the module has one.
    """
    blocks = [_provider(url, keys)]
    if partner is not None:
        blocks.append(_provider(url, partner, alias="partner"))
    (workspace.directory / "sandbox_override.tf").write_text("\n".join(blocks))


def _provider(url: str, keys: Mapping[str, str], alias: str = "") -> str:
    endpoints = "\n".join(f'    {service} = "{url}"' for service in _SERVICES)
    return f"""provider "aws" {{
  {f'alias = "{alias}"' if alias else ""}
  access_key                  = "{keys["aws_access_key_id"]}"
  secret_key                  = "{keys["aws_secret_access_key"]}"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true

  endpoints {{
{endpoints}
  }}
}}
"""
