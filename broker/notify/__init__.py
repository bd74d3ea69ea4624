"""How a program is notified about new credentials: with an HTTP request, or with a signal.

May import: net, files, core.
Refuses to know: when a program is notified. `core.notifications` decides that.
"""
