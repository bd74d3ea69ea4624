"""An AWS account and a kubelet in a box, for the demo, tests and benchmarks; never part of the image."""

from sandbox.box import Sandbox
from sandbox.calls import Call
from sandbox.issuer import Availability, Issuer
from sandbox.kubelet import Misbehaviour, ProjectedToken, Rotation
from sandbox.sts import StsServer

__all__ = ["Availability", "Call", "Issuer", "Misbehaviour", "ProjectedToken", "Rotation", "Sandbox", "StsServer"]
