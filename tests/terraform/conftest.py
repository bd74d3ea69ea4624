"""One copy of the Terraform folders for all tests here (one for each pytest worker)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.terraform.workspace import copy_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("tree"))
