"""The worker process: settings, tokens and STS, in a process that can be killed.

The resident process asks a worker (`pool`), and never imports what a worker imports: botocore, pydantic, urllib3, ssl,
jwt. Workers are forked before any secret is read, and new programs later (`launch`). Jobs and results cross anonymous
sockets (`channel`). This package may import settings, tokens, sts and all below them, the first three in the worker
alone. It refuses to know when to do what: see `core`.
"""
