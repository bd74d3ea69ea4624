"""An AWS account and a kubelet in a box, for the demo, tests and benchmarks; never part of the image."""

from sandbox.aws.calls import Call
from sandbox.aws.sts import StsServer
from sandbox.cluster.issuer import Availability, Issuer
from sandbox.cluster.kubelet import Misbehaviour, ProjectedToken, Rotation
from sandbox.simulator import Sandbox

__all__ = ["Availability", "Call", "Issuer", "Misbehaviour", "ProjectedToken", "Rotation", "Sandbox", "StsServer"]
