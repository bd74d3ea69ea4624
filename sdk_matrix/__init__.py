"""Which SDKs follow the broker: unmodified clients call across several generations of credentials: `make sdk-matrix`.

Rules: every client is one long-lived process for each way of delivery, and knows nothing but what an app in a pod is
given; all call at the same time, each a recording endpoint of its own, with one real broker refreshing underneath; the
verdict rests on what the endpoints saw, because SDKs hide refused calls by retrying. A client that cannot be had is
SKIPPED, loudly: it neither passes nor fails.

`clients` is the list; `installs` fetches them, hash-pinned, into `.venv-sdk`; `drivers/` are the programs, each a loop
around one call; `recorder` is the endpoint; `stage` runs everything; `verdicts` judges and `table` prints, both pure.
"""
