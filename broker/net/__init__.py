"""The network: URLs, HTTP dates, and one HTTPS client whose time and size are bounded.

May import: broker.files and broker.core. Only this package imports ssl, urllib3 and http.client.
Refuses to know: who is asked and why. Callers turn a failure into advice of their own.
"""
