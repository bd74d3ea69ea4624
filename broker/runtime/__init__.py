"""The running program: builds all parts of `run`, `once` and `exec`, starts them, and stops them.

May import every package but cli, doctor, inject, trust, issuer and discovery. Refuses to know when to refresh
(`core.schedule`), how STS is called (`sts`) and how files are written (`publish`).
"""
