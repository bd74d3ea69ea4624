"""The clients' programs: each makes the SDK's usual client once, then one call after the other until its input ends.

Rules: nothing is told to an SDK but the address of the recording endpoint; everything else is the environment's. Lines
on standard output say which version runs, then how each call ended, by its class alone: messages may quote secrets.
They run in the clients' own environments, so they import nothing but the standard library, the SDK and each other.
"""
