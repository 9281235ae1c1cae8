"""Writes the table at the end of docs/pytorch.md: which of the names in docs/pytorch-names.txt are covered.

python docs/pytorch_names.py            write it
python docs/pytorch_names.py --check    exit with 1 if it is out of date
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any

import minigrad

HERE = Path(__file__).parent
MARK = "<!-- from here on written by docs/pytorch_names.py -->\n"


def groups() -> dict[str, list[str]]:
    """The names by module of PyTorch."""
    found: dict[str, list[str]] = {}
    group = ""
    for line in (HERE / "pytorch-names.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            found[group] += line.split()
        elif line and not line.startswith("#"):
            group = line
            found[group] = []
    return found


def covered(group: str, name: str) -> bool:
    """Whether minigrad has it; an instance stands in for a class whose attributes are made at the start."""
    holder: Any = minigrad
    if group == "torch.Tensor":
        holder = minigrad.ones(1, 1, requires_grad=True)
    elif group == "torch.nn.Module":
        holder = minigrad.nn.Module()
    else:
        for part in group.partition(",")[0].split(".")[1:]:
            holder = getattr(holder, part)
    for part in name.split("."):
        if not hasattr(holder, part):
            return False
        holder = getattr(holder, part)
    return True


def table() -> str:
    """The generated part."""
    parts = []
    for group, names in groups().items():
        there = [name for name in names if covered(group, name)]
        parts.append(f"\n### {group}: {len(there)} of {len(names)}\n")
        missing = [name for name in names if name not in there]
        for title, some in (("Covered", there), ("Not covered", missing)):
            if some:
                parts.append(textwrap.fill(f"{title}: {', '.join(some)}.", 118, break_on_hyphens=False) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Write the page, or say whether it is what would be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    page = HERE / "pytorch.md"
    before = page.read_text(encoding="utf-8")
    after = before[: before.index(MARK) + len(MARK)] + table()
    if parser.parse_args().check:
        return int(before != after)
    page.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
