"""What minigrad wants to reach beside its peers, and whether the measured rows reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.measure import Row


class Goal(NamedTuple):
    """``rivals``: the peers of which the best counts. Without: the bound is for minigrad's own figure."""

    what: str
    case: str
    kind: str  # "faster": at least bound times as fast; "share": at most bound times the rival's figure; "most"
    bound: float
    rivals: tuple[str, ...] = ("torch",)
    own: str = "minigrad"
    all_cores: bool = False  # the rival as it runs by default, with a thread per core

    def __str__(self) -> str:
        rivals = " or ".join(self.rivals) + (" with a thread per core" if self.all_cores else "")
        text = {
            "faster": f"at least {self.bound:g}x as fast as {rivals}",
            "share": f"at most {self.bound:g}x of {rivals}",
            "most": f"at most {self.bound:g} ms",
        }[self.kind]
        return f"{self.what} {self.case}: {text}".replace(" :", ":")

    def measured(self, rows: Sequence[Row]) -> float | None:
        """The figure that the bound is for; None where it was not measured."""
        here = [row for row in rows if (row.what, row.case) == (self.what, self.case) and row.value]
        own = [row.value for row in here if row.peer == self.own and row.value]
        most = max((row.threads or 0 for row in here if row.peer in self.rivals), default=0)
        rivals = [
            row.value
            for row in here
            if row.peer in self.rivals and row.value and (not self.all_cores or row.threads == most)
        ]
        if not own or (self.kind != "most" and not rivals):
            return None
        if self.kind == "most":
            return own[0]
        return min(rivals) / own[0] if self.kind == "faster" else own[0] / min(rivals)

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.kind == "faster" else figure <= self.bound


GOALS = [
    Goal("step", "micro", "faster", 2.5),
    Goal("step", "micro", "faster", 500, ("scalar",)),
    Goal("step", "tiny", "faster", 2.0),
    Goal("step", "tiny", "faster", 0.9, ("jax",)),
    Goal("step", "nano", "faster", 1.0, ("torch", "torch-compiled")),
    Goal("step", "nano", "faster", 2.0, ("jax",)),
    Goal("step", "nano", "faster", 6.0, ("mygrad",)),
    Goal("step", "nano", "faster", 9.0, ("autograd",)),
    Goal("step", "nano", "share", 1.7, ("products",)),
    Goal("step", "mid", "faster", 1.0),
    Goal("step", "full", "faster", 1.0),
    Goal("ops", "(a*b+c).relu().sum()", "share", 0.4),
    Goal("chain", "100000", "share", 0.6),
    Goal("memory", "nano", "share", 0.3),
    Goal("memory", "full", "share", 0.9),
    Goal("import", "", "most", 25, (), "over"),
    Goal("sampling", "with cache", "faster", 2.0),
    Goal("busy", "nano", "faster", 4.0, all_cores=True),
]
