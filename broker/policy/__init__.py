"""IAM policy documents: strict parsing, conditions, statements, and the evaluation of trust policies.

It also has the condition keys that AWS provides for tokens.

May import: nothing from the project. The code is pure; it does no I/O.
Does not know: tokens, HTTP, AWS clients, where policies come from, and which policies are good.
"""
