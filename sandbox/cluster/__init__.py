"""A simulated Kubernetes cluster: OIDC issuer, kubelet with projected tokens, API server with TokenRequest, and its CA.

May import `sandbox.aws` (for fault types and fingerprints) and `sandbox.http`. It does not know the broker or AWS
accounts. What real clusters do has been observed on Kubernetes 1.36; docs and tests name the facts.
"""
