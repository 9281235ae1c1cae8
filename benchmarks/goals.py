"""What minigrad wants to reach beside its peers, and whether the measured rows reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.measure import Row

SHARED = ("minigrad", "shared")
FAST = ("fast", "fast-shared")


class Goal(NamedTuple):
    """``rivals``: the peers of which the best counts, as of ``own``. Without: the bound is for the own figure."""

    what: str
    case: str
    kind: str  # "faster": at least bound times as fast; "share": at most bound times the rival's figure; "most"
    bound: float
    rivals: tuple[str, ...] = ("torch",)
    own: tuple[str, ...] = ("minigrad",)
    all_cores: bool = False  # the rival as it runs by default, with a thread per core

    def __str__(self) -> str:
        rivals = " or ".join(self.rivals) + (" with a thread per core" if self.all_cores else "")
        text = {
            "faster": f"at least {self.bound:g}x as fast as {rivals}",
            "share": f"at most {self.bound:g}x of {rivals}",
            "most": f"at most {self.bound:g} ms",
        }[self.kind]
        numba = ", with numba" if self.own == FAST else ""
        return f"{self.what} {self.case}{numba}: {text}".replace(" :", ":")

    def measured(self, rows: Sequence[Row]) -> float | None:
        """The figure that the bound is for; None where it was not measured."""
        here = [row for row in rows if (row.what, row.case) == (self.what, self.case) and row.value]
        own = [row.value for row in here if row.peer in self.own and row.value]
        most = max((row.threads or 0 for row in here if row.peer in self.rivals), default=0)
        rivals = [
            row.value
            for row in here
            if row.peer in self.rivals and row.value and (not self.all_cores or row.threads == most)
        ]
        if not own or (self.kind != "most" and not rivals):
            return None
        if self.kind == "most":
            return min(own)
        return min(rivals) / min(own) if self.kind == "faster" else min(own) / min(rivals)

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.kind == "faster" else figure <= self.bound


GOALS = [
    Goal("step", "micro", "faster", 2.5),
    Goal("step", "micro", "faster", 500, ("scalar",)),
    Goal("step", "tiny", "faster", 2.0),
    Goal("step", "tiny", "faster", 0.9, ("jax",)),
    Goal("step", "nano", "faster", 1.0, ("torch", "torch-compiled"), own=SHARED),
    Goal("step", "nano", "faster", 1.3, ("torch", "torch-compiled"), own=FAST),
    Goal("step", "nano", "faster", 2.0, ("jax",), own=SHARED),
    Goal("step", "nano", "faster", 6.0, ("mygrad",), own=SHARED),
    Goal("step", "nano", "faster", 9.0, ("autograd",), own=SHARED),
    Goal("step", "nano", "share", 1.7, ("products",), own=SHARED),
    Goal("step", "mid", "faster", 1.0, own=SHARED),
    Goal("step", "full", "faster", 1.0, own=SHARED),
    Goal("ops", "(a*b+c).relu().sum()", "share", 0.4),
    Goal("chain", "100000", "share", 0.6),
    Goal("memory", "nano", "share", 0.3),
    Goal("memory", "full", "share", 0.9),
    Goal("import", "", "most", 25, (), ("over",)),
    Goal("sampling", "with cache", "faster", 2.0),
    Goal("busy", "nano", "faster", 4.0, all_cores=True, own=SHARED),
]
