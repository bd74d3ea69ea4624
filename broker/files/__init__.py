"""Files that others provide: how one is opened for reading or writing so that nothing blocks the broker.

May import: nothing of the broker.
Refuses to know: what a file contains, and what to change if it can't be read. Callers add that.
"""
