"""The exchange: calls STS, checks its responses, and explains its refusals.

May import core, net and botocore. botocore serializes, signs and parses; net sends. Refuses to know when to call STS,
where a token comes from, and who uses the credentials.
"""
