"""object_store, the Rust S3 client of polars, delta-rs and others, in obstore: one store."""

from importlib.metadata import version

from obstore.store import S3Store

from sdk_matrix.drivers.driving import ENDPOINT, drive

store = S3Store(
    "bucket",
    endpoint=ENDPOINT,
    virtual_hosted_style_request=False,
    client_options={"allow_http": True},
    retry_config={"max_retries": 0},
)
drive(version("obstore"), lambda: store.list().collect())
