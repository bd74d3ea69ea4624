"""Lint trust policies: the rules, how a statement is read, the checks, and the reports.

May import: `broker.policy`, `broker.core`, and `broker.trust.sources` for types.
Does not know: tokens, AWS clients, and how policies are evaluated for a request.
"""
