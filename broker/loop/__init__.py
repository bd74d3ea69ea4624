"""The event loop: one thread waits for clients, worker processes, signals and the time of the next decision.

It imports the standard library only, and refuses to know what its callbacks do. None of them may block.
"""
