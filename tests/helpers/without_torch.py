"""For tests of what a process does that has not imported PyTorch, whatever ran in it before."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
