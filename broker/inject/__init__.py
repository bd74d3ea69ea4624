"""Add the sidecar to Kubernetes manifests: `sts-broker inject`.

An operator tool for laptops and pipelines; the sidecar's image does not contain it.

May import: `manifests`, `core`, and `settings` (its loader checks the values that a pod requests).
Does not know: how the broker runs, AWS, or any Kubernetes API. It reads and writes text only.
"""
