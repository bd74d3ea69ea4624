"""Finds out which SDKs follow the broker's refreshes: unmodified clients call across generations of credentials.

`make sdk-matrix` runs it. Each client is one long-lived process for each delivery (endpoint, process profile, static
file), with the environment of an app in a pod. All call at the same time, each its own recording endpoint, while one
real broker refreshes. The verdicts depend on what the endpoints recorded, because SDKs hide refused calls by retrying.
A client that cannot be installed is reported as SKIPPED. It neither passes nor fails.

Modules: `clients` is the list. `installs` and `archives` fetch the clients with pinned hashes into `.venv-sdk`.
`drivers/` are the programs, each a loop around one call. `environment` builds their variables. `recorder` is the
endpoint. `matrix_run` runs everything. `verdicts` and `table` are pure: they judge and format.
"""
