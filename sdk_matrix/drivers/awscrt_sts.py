"""AWS Common Runtime: one default chain signs each request, and the standard library sends it."""

import http.client
import io
from importlib.metadata import version
from urllib.parse import urlsplit

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientBootstrap

from sdk_matrix.drivers.driving import ENDPOINT, REGION, drive

HOST = urlsplit(ENDPOINT).netloc
FORM = b"Action=GetCallerIdentity&Version=2011-06-15"
# A program that signs with the Common Runtime must name the Region: the chain finds credentials only.
provider = AwsCredentialsProvider.new_default_chain(ClientBootstrap.get_or_create_static_default())


def call() -> None:
    """Sign and send one GetCallerIdentity."""
    headers = {"Host": HOST, "Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(FORM))}
    config = AwsSigningConfig(
        algorithm=AwsSigningAlgorithm.V4,
        signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=provider,
        region=REGION,
        service="sts",
    )
    request = HttpRequest("POST", "/", HttpHeaders(list(headers.items())), io.BytesIO(FORM))
    signed = aws_sign_request(request, config).result(timeout=20)
    connection = http.client.HTTPConnection(HOST, timeout=20)
    connection.request("POST", "/", FORM, dict(signed.headers))
    status = connection.getresponse().status
    connection.close()
    if status != http.client.OK:
        raise ConnectionRefusedError


drive(version("awscrt"), call)
