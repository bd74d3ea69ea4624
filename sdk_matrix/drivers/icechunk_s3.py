"""The SDK for Rust, in icechunk: one storage."""

from importlib.metadata import version

from icechunk import Repository, s3_storage

from sdk_matrix.drivers.driving import ENDPOINT, drive

storage = s3_storage(
    bucket="bucket",
    prefix="prefix",
    endpoint_url=ENDPOINT,
    allow_http=True,
    force_path_style=True,
    from_env=True,
)
drive(version("icechunk"), lambda: Repository.exists(storage))
