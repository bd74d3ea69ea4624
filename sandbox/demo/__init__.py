"""`sts-broker demo`: runs the real broker and a boto3 app against the simulator, and shows what happens.

May import every package of the sandbox. Of the broker, it knows the command line, the log format, the health listener
and the published files: what users see.
"""
