"""Read Kubernetes manifests: the documents of a stream, YAML with its lines, and the pods and pod templates in it.

`inject` and `trust audit` share this package. The sidecar image does not contain it.
May import: nothing from the project. The code is pure; it does no I/O.
Does not know: the sidecar, roles, and what is right or wrong in a manifest.
"""
