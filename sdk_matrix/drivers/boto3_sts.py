"""boto3: one STS client."""

import boto3

from sdk_matrix.drivers.driving import ENDPOINT, drive

drive(boto3.__version__, boto3.client("sts", endpoint_url=ENDPOINT).get_caller_identity)
