"""The SDK for C++, in pyarrow: one S3 file system."""

from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow.fs import FileSelector, S3FileSystem

from sdk_matrix.drivers.driving import ENDPOINT, drive

files = S3FileSystem(scheme="http", endpoint_override=urlsplit(ENDPOINT).netloc)
drive(pa.__version__, lambda: files.get_file_info(FileSelector("bucket", allow_not_found=True)))
