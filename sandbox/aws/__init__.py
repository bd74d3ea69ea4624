"""A simulated AWS: an STS that verifies what the real one verifies, on IAM objects that moto stores.

May import `sandbox.http`, and `broker.policy` to evaluate policies. It does not know Kubernetes: a token is its claims.
"""
