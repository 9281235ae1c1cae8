"""``with minigrad.doctor():`` and its report: the watch, the findings, the text and the page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from minigrad.look.doctor.findings import ENOUGH, Finding, chart, examine
from minigrad.look.doctor.watch import SAMPLE, Watch
from minigrad.look.pages.doctor_page import save_doctor_page


class doctor:
    """Watch the training inside, and say at the end what is wrong with it, with evidence, line and mend.

    About ``steps`` steps of the busiest optimizer are watched; a loop that changes its weights itself counts too. What
    is found is printed to the standard error unless ``quiet``, kept in ``findings`` (a list), and written to the file
    ``page`` where one is named. A finding needs several steps that agree. The training itself is not changed: the same
    numbers come out, more slowly. Of tensors of more than 65,536 numbers a part is looked at.
    """

    def __init__(self, steps: int = 50, *, page: str | Path | None = None, quiet: bool = False) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.watch = Watch(steps)
        self.findings: list[Finding] = []
        self._page = page
        self._quiet = quiet

    def __enter__(self) -> doctor:
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.stop()
        self.findings = examine(self.watch)
        if self._page is not None:
            self.save(self._page)
        if not self._quiet:
            print(self.report(), file=sys.stderr)

    def report(self) -> str:
        """What was found, as text."""
        return report(self.watch, self.findings)

    def save(self, path: str | Path, title: str = "a training") -> None:
        """Write the findings with their curves as a page: one file that needs no network."""
        save_doctor_page(path, title, summary(self.watch, self.findings), self.findings, chart(self.watch))


def missing(w: Watch) -> str:
    """What there was not, so that nothing can be said; "" where there was a training."""
    if w.steps:
        return ""
    if w.backwards:
        return (
            f"it called backward() {w.backwards} time{'s' * (w.backwards != 1)} and then changed no weights: there is "
            "no optimizer.step() to watch"
        )
    if w.models:
        return "it ran a model and never called backward(): there is no loss to learn from"
    return "it trained nothing: no op on anything that wants a gradient, and no backward()"


def summary(w: Watch, findings: list[Finding]) -> str:
    """One sentence on what was watched and found."""
    if not w.steps:
        return f"Nothing to say: {missing(w)}."
    weights = [x for x in w.weights.values() if x.steps]
    seen = f"{len(w.steps)} step{'s' * (len(w.steps) != 1)}, {len(weights)} weight{'s' * (len(weights) != 1)} watched"
    if w.sampled:
        seen += f" (of tensors of more than {SAMPLE:,} numbers, a part)"
    if len(w.steps) < 2 * ENOUGH:
        seen += f"; most findings need {2 * ENOUGH} steps or more"
    count = len(findings)
    return f"{seen}: " + (f"{count} finding{'s' * (count != 1)}." if count else "nothing found that is wrong.")


def report(w: Watch, findings: list[Finding]) -> str:
    """The findings as text, the summary first."""
    parts = [f"doctor: {summary(w, findings)}"]
    parts += [f"{i}. {finding}" for i, finding in enumerate(findings, 1)]
    return "\n".join(parts)


__all__: list[Any] = ["doctor", "missing", "report", "summary"]
