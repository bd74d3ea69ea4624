"""aiobotocore: one STS client on one event loop."""

import asyncio

import aiobotocore
from aiobotocore.session import get_session

from sdk_matrix.drivers.driving import ENDPOINT, drive

with asyncio.Runner() as runner:
    session = get_session()
    client = runner.run(session.create_client("sts", endpoint_url=ENDPOINT).__aenter__())
    drive(aiobotocore.__version__, lambda: runner.run(client.get_caller_identity()))
    runner.run(client.close())
