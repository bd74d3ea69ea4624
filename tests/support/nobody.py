"""Access to files as another user, for tests that root runs."""

from __future__ import annotations

import os

NOBODY = 65534


class as_nobody:  # noqa: N801 - used as a statement
    """Access files as the user nobody until the end of the block."""

    def __enter__(self) -> None:
        """Change the effective user and group."""
        os.setegid(NOBODY)
        os.seteuid(NOBODY)

    def __exit__(self, *_: object) -> None:
        """Restore them."""
        os.seteuid(0)
        os.setegid(0)
