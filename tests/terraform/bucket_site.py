"""Serve one moto bucket at the root of a port, as S3 does at the bucket's own host name.

The server reads the bucket with credentials: without them, moto routes `…/.well-known/openid-configuration` to Cognito.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class BucketSite:
    """A server that runs from its construction until the end of the `with`, at `url`. `s3` is a boto3 client."""

    def __init__(self, s3: Any, bucket: str) -> None:  # noqa: ANN401 - boto3's clients have no static type
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = s3.get_object(Bucket=bucket, Key=self.path.removeprefix("/"))["Body"].read()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
