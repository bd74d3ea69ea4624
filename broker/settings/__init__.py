"""Settings: what can be configured, where values come from, and how they are checked.

May import: `broker.files`, `broker.core`, and `broker.net.routes`, which reads the proxy variables. It is the only
package that imports pydantic and pydantic-settings.

Does not know: what the settings are used for. It never reads the token and never calls STS.
"""
