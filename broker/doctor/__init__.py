"""The diagnosis behind `sts-broker doctor`: check a pod once, and name the cause of what is wrong with it.

It examines everything between the settings and the app's credentials, separates causes from their consequences, and
prints what to change. It calls the same code as the broker, so its findings use the broker's own messages.

It may import every package except `broker.cli`, and nothing imports it except `broker.cli`. It decides nothing about
tokens, issuers, policies or STS answers itself, and it never prints a token or a secret.
"""
