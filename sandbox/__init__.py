"""A local AWS and Kubernetes simulator for the demo, tests and benchmarks. It is not part of the images.

Packages, from the top down; each may import those below it: `demo` (what `sts-broker demo` shows), `simulator` (all
servers together), `cluster` (issuer, kubelet, API server), `aws` (STS and IAM), `http` (the server under both), and
`host_environment`. Of the broker, only `broker.policy` is imported, which evaluates policies. The demo also starts the
broker as a program.
"""

from sandbox.aws.calls import Call
from sandbox.aws.sts import StsServer
from sandbox.cluster.issuer import Availability, Issuer
from sandbox.cluster.kubelet import Misbehaviour, ProjectedToken, Rotation
from sandbox.simulator import Sandbox

__all__ = ["Availability", "Call", "Issuer", "Misbehaviour", "ProjectedToken", "Rotation", "Sandbox", "StsServer"]
