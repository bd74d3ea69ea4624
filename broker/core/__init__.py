"""The core of the broker: values, errors, the clock, the refresh schedule, the main loop and the status.

May import: nothing of the broker but itself. It does no I/O; only `clock.SystemClock` touches the system.

Does not know: how STS is called, how files are written, how settings are read, or how anything is displayed.
"""
