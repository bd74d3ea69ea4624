"""Runs programs as a user other than root, for what root is allowed and others are not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.support.program import leave_out_coverage

_OTHER_USER = 65533


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprivilegedUser:
    """A user other than root, with the command that runs a program as this user. `group` is one of its groups."""

    uid: int
    group: int
    wrapper: tuple[str, ...] = ()


def find_unprivileged_user(monkeypatch: pytest.MonkeyPatch) -> UnprivilegedUser:
    """Return the current user if it is not root, else another one; or skip the test.

    Programs of another user are not measured by coverage, because they can't write to root's files.
    """
    if os.geteuid() != 0:
        return UnprivilegedUser(uid=os.geteuid(), group=os.getegid())
    leave_out_coverage(monkeypatch)
    group = 65532
    wrapper = ("setpriv", f"--reuid={_OTHER_USER}", f"--regid={_OTHER_USER}", f"--groups={_OTHER_USER},{group}")
    try:
        probe = subprocess.run([*wrapper, sys.executable, "-c", ""], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("setpriv(1) is not installed, so an unprivileged user is not tested")
    if probe.returncode != 0:
        pytest.skip(f"an unprivileged user can't start Python here, so none is tested: {probe.stderr.strip()}")
    return UnprivilegedUser(uid=_OTHER_USER, group=group, wrapper=wrapper)
