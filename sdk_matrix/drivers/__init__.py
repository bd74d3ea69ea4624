"""The clients' programs: each creates the SDK's usual client once and calls repeatedly until its standard input ends.

A driver gives its SDK only the address of the recording endpoint. Everything else comes from the environment. Standard
output has the version, and then the outcome of each call. A failure is reported by its class, because messages may
contain secrets. Drivers run in the clients' own environments and import only the standard library, the SDK and each
other.
"""
