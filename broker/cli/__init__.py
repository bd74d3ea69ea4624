"""The command line: its commands, their options and help texts, and the exit codes.

May import: every package of the broker, and each one only when the command that needs it is called.

Does not know: how a command does its work.
"""
