"""The stepper's page: one HTML file that walks back through a recorded run, step by step."""

from __future__ import annotations

import html
import json
import linecache
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.look import nudges, spelled
from minigrad.look.mistakes import BUGS, BugReport, with_bug
from minigrad.look.pages import mathml, paths
from minigrad.look.pages.html import page
from minigrad.look.pages.picture import facts_of
from minigrad.look.recording import VIEWS, OpRecord, Pass, Recorder, StepRecord, Summary, Trace, summarize
from minigrad.look.recording import trace as trace
from minigrad.look.replay import Replay
from minigrad.train.files import atomic_write, output_path, page_mark

MARK = page_mark("stepper")
NAMES = ("state", "spell", "rows", "arrays", "nudge", "quiz", "script", "picture", "panels", "wrong", "moves")
PARTS = [f"stepper/{name}" for name in NAMES]  # in the order in which they use one another
LIMIT = 4096  # good for trace(limit=...): what turns out too large for the page is cut down here
BUDGET = 3_000_000  # characters of data in a page
MAX_STEPS = 1000  # in a page; of a longer pass it shows the first
WRONG_STEPS = 20  # steps of a bug that the page shows, from the one where it parts
LONGEST = 400  # lines of a file that is listed as a whole
SMALL_JACOBIAN = 64  # numbers in a table of local derivatives


def stepper_page(run: Recorder | Trace, title: str, which: int | Sequence[int] = 0, quiz: bool = False) -> str:
    """The page for backward pass number ``which`` of a recording, or for several: the text of one HTML file.

    From the recorder of a ``trace(live=True)`` the page also has local derivatives, paths and the planted bugs. Of a
    run that failed before its first backward it shows what ran. With ``quiz`` what a step gives is asked before it is
    shown. Raises ValueError where the run called no backward, or not so often.
    """
    trace = run.trace if isinstance(run, Recorder) else run
    wanted: list[int | None] = [which] if isinstance(which, int) else list(which)
    if not trace.passes and trace.failure is not None and trace.ops:
        wanted = [None]
    for number in wanted or [0]:
        if number is not None and (number >= len(trace.passes) or not trace.passes[number].steps):
            calls = len(trace.passes)
            raise ValueError(
                f"there is no backward pass {number + 1} to step through: the script called backward() {calls} times"
                if calls
                else "there is nothing to step through: the script called no backward() on a recorded tensor"
            )
    live = run if isinstance(run, Recorder) and run.live else None
    views = []
    for number in wanted:
        extras = _extras(live, number)
        for limit in (LIMIT, 1024, 256, 64, 16):
            data = _data(trace, number, limit, extras)
            data["quiz"] = quiz_key(trace, number) if quiz and number is not None else ""
            if len(json.dumps(data, separators=(",", ":"))) <= BUDGET // len(wanted):
                break
        views.append(data)
    return page(title, "stepper", {"title": title, "views": views}, PARTS)


def inline(run: Recorder | Trace) -> str:
    """The page of all recorded backward passes as an element that a notebook shows."""
    trace = run.trace if isinstance(run, Recorder) else run
    which = [number for number, p in enumerate(trace.passes) if p.steps]
    text = html.escape(stepper_page(run, "Backward, step by step", which))
    style = "width: 100%; height: 760px; border: 0"
    return f'<iframe title="Backward, step by step" style="{style}" srcdoc="{text}"></iframe>'


VIEWS["stepper"] = inline


def stepper_path(path: str | Path, *inputs: str | Path) -> Path:
    """The path of a page, if it ends in .html and the page may be written there: see ``files.output_path``."""
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        raise ValueError(f"{path}: a page's name must end in .html")
    return output_path(path, MARK, inputs)


def quiz_key(trace: Trace, which: int) -> str:
    """What the codes of a quiz are checked with: the same for each run of the same script."""
    return "|".join(f"{trace.ops[step.op].op}{step.dz.shape}" for step in trace.passes[which].steps)


def read_quiz_code(code: str, trace: Trace, which: int) -> tuple[int, int]:
    """How many answers were right at the first try, of how many: from the code that the page gave.

    Raises ValueError for a code that is none, or of another script.
    """
    packed, _, check = code.strip().lower().partition("-")
    if not re.fullmatch(r"[0-9a-f]*", packed) or fnv1a(f"{quiz_key(trace, which)}:{packed}") != check:
        raise ValueError(f"{code} is no code of a quiz on this script")
    asked = [g for step in trace.passes[which].steps[:MAX_STEPS] for g in step.grads if g is not None]
    count = sum(bool(g.contribution.data) for g in asked)
    return sum(bin(int(digit, 16)).count("1") for digit in packed), count


def fnv1a(text: str) -> str:
    """32 bits of a text, as 8 hexadecimal digits. Fowler, Noll, Vo."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return f"{value:08x}"


def save_stepper_page(
    path: str | Path, recorder: Recorder, title: str, which: int | Sequence[int] = 0, quiz: bool = False
) -> str:
    """Write ``stepper_page(...)`` to a file, in one piece; returns what to tell the user."""
    path = stepper_path(path)
    with atomic_write(path, MARK) as file:
        file.write(stepper_page(recorder, title, which, quiz).encode("utf-8"))
    passes = recorder.trace.passes
    wanted = [which] if isinstance(which, int) else which
    count = sum(len(passes[number].steps) for number in wanted) if passes else len(recorder.trace.ops)
    what = f"{count} {'step' if passes else 'op'}{'s' * (count != 1)}"
    what += f" of {len(wanted)} passes" if len(wanted) > 1 else ""
    return f"{path}: {what}, {path.stat().st_size / 1e6:.1f} MB; open it in a browser"


def _extras(live: Recorder | None, which: int | None) -> dict[str, Any]:
    """What only arrays can tell: local derivatives per op, paths, bugs."""
    if which is None:
        return _nothing("The run failed before it came to backward().")
    if live is not None and any(n not in live.calls for n in live.trace.ancestors(live.trace.passes[which].root)):
        live = None  # recorded from a graph that was there already
    if live is None:
        return _nothing("The recording kept no arrays (trace(live=True) keeps them).")
    replay = Replay(live, which).backward()
    recorded = live.trace.tensors[replay.root].value
    if not np.allclose(summarize(replay.root_value).norm or 0.0, recorded.norm or 0.0, rtol=1e-3):
        return _nothing("This run cannot be replayed: a tensor was changed in place between the ops that used it.")
    local = {number: _local(replay, number) for number in replay.order}
    bugs = [with_bug(name, live, which, WRONG_STEPS, replay) for name in BUGS]
    moved = nudges.explore(live, replay.gradients, which)
    return {"local": local, "paths": paths.explore(replay), "bugs": bugs, "nudges": moved, "note": ""}


def _nothing(reason: str) -> dict[str, Any]:
    return {"local": {}, "paths": paths.Paths(note=reason), "bugs": [], "nudges": [], "note": reason}


def _local(replay: Replay, number: int) -> list[dict[str, Any] | None]:
    """The local derivatives of an op by input: one number per element, or a small matrix, or nothing."""
    record = replay.trace.ops[number]
    z = replay.values[record.output]
    if facts_of(record.op).elementwise:
        with np.errstate(all="ignore"):
            slopes = replay.backwards[number](np.ones_like(z))
        return [
            None if s is None or "tensor" not in slot else {"kind": "elementwise", "value": s}
            for slot, s in zip(record.inputs, slopes, strict=False)
        ]
    sizes = [replay.values[slot["tensor"]].size for slot in record.inputs if "tensor" in slot]
    if z.size * max(sizes, default=0) > SMALL_JACOBIAN:
        return [None] * len(record.inputs)
    return [m if m is None else {"kind": "matrix", "value": m} for m in paths.jacobian(replay, number)]


class _Pool:
    """Summaries by number: the same numbers are in the page once, and none are larger than the limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.items: list[dict[str, Any]] = []
        self.numbers: dict[str, int] = {}

    def add(self, summary: Summary | None) -> int | None:
        """The number of a summary in the pool."""
        if summary is None:
            return None
        if summary.data is not None and len(summary.data) > self.limit:
            array = np.array(summary.data, dtype=summary.dtype).reshape(summary.shape)
            summary = summarize(array, self.limit)
        item = {key: value for key, value in asdict(summary).items() if value not in (None, 0) or key == "data"}
        if summary.corner is not None:
            item["corner"] = [[float(f"{v:.6g}") if isinstance(v, float) else v for v in r] for r in summary.corner]
        for key in ("min", "max", "mean", "norm"):
            item[key] = getattr(summary, key)
        text = json.dumps(item)
        if text not in self.numbers:
            self.numbers[text] = len(self.items)
            self.items.append(item)
        return self.numbers[text]

    def array(self, array: Any) -> int | None:
        """The number of an array's summary."""
        return self.add(summarize(np.asarray(array), self.limit))


def _data(trace: Trace, which: int | None, limit: int, extras: dict[str, Any]) -> dict[str, Any]:
    """All that the page shows of a pass, as JSON: see ``assets/stepper``. Without a pass: of a run that failed."""
    pool = _Pool(limit)
    backward = trace.passes[which] if which is not None else Pass(trace.ops[-1].output, Summary([], "float32"), None)
    steps = backward.steps[:MAX_STEPS]
    order = sorted({step.op for step in steps}) if which is not None else [op.id for op in trace.ops[-MAX_STEPS:]]
    seen = {backward.root} | {s["tensor"] for n in order for s in trace.ops[n].inputs if "tensor" in s}
    tensors = {
        t: {
            "label": trace.label(t),
            "shown": spelled.shown(trace, t),
            "symbol": spelled.symbol(trace, t),
            "gradient": spelled.gradient(trace, t),
            "kind": trace.tensors[t].kind,
            "named": trace.tensors[t].name is not None,
            "value": pool.add(trace.tensors[t].value),
            "made_by": trace.tensors[t].made_by,
        }
        for t in sorted(seen)
    }
    return {
        "number": backward.number,
        "held": {t: since for t, since in backward.held.items() if t in seen},
        "failure": trace.failure and asdict(trace.failure),
        "root": backward.root,
        "source": backward.source and asdict(backward.source),
        "start": pool.add(backward.gradient),
        "intro": spelled.introduction(trace, which) if which is not None else [],
        "tensors": tensors,
        "ops": {n: _op(trace.ops[n], pool, trace) for n in order},
        "tree": layout([trace.ops[n] for n in order], trace),
        "steps": [_step(step, pool, extras["local"].get(step.op, []), trace) for step in steps],
        "formulas": {
            text: mathml.formulas(text.split("\n"))
            for text in sorted({"\n".join(trace.ops[n].formulas) for n in order})
        },
        "files": _files([trace.ops[n] for n in order]),
        "cut": f"the first {len(steps):,} of {len(backward.steps):,} steps" if len(steps) < len(backward.steps) else "",
        "paths": _paths(extras["paths"]),
        "bugs": [_bug(report, pool, steps, trace) for report in extras["bugs"]],
        "nudges": [_nudge(found) for found in extras["nudges"]],
        "note": extras["note"],
        "limit": limit,
        "pool": pool.items,
    }


def _files(records: list[OpRecord]) -> dict[str, list[tuple[int, str]]]:
    """The files that the ops came from as [number, text] of their lines; of long ones what is around the used lines."""
    used: dict[str, set[int]] = {}
    for record in records:
        if record.source is not None:
            used.setdefault(record.source.file, set()).add(record.source.line)
    found = {}
    for file, numbers in used.items():
        lines = linecache.getlines(file) or []
        shown: Sequence[int] = range(1, len(lines) + 1)
        if len(lines) > LONGEST:
            shown = tuple(sorted({n for at in numbers for n in range(max(1, at - 8), min(len(lines), at + 8) + 1)}))[
                :LONGEST
            ]
        if lines:
            found[file] = [(n, lines[n - 1].rstrip()) for n in shown]
    return found


def _op(record: OpRecord, pool: _Pool, trace: Trace) -> dict[str, Any]:
    values = spelled.arrays_of(trace, record, None)
    forward = spelled.spelled(record.formulas[0], values, values["z"]) if record.formulas else None
    return {
        "op": record.op,
        "formulas": "\n".join(record.formulas),
        "names": spelled.names_of(record),
        "lines": spelled.lines_of(record),
        "says": spelled.sentence(trace, record),
        "forward": forward and asdict(forward),
        "elementwise": facts_of(record.op).elementwise,
        "module": record.module,
        "type": record.module_type,
        "source": record.source and asdict(record.source),
        "inputs": record.inputs,
        "constants": {k: _constant(v) for k, v in record.constants.items() if v is not None},
        "output": record.output,
        "saved": {name: pool.add(summary) for name, summary in record.saved.items()},
    }


def _constant(value: Any) -> str:
    """A constant of an op as short text; an array by its shape."""
    if isinstance(value, dict):
        return f"array {tuple(value['array']['shape'])}"
    if isinstance(value, list):
        return "(" + ", ".join(_constant(v) for v in value) + ")"
    return str(value)


def _step(step: StepRecord, pool: _Pool, local: list[dict[str, Any] | None], trace: Trace) -> dict[str, Any]:
    record = trace.ops[step.op]
    values = spelled.arrays_of(trace, record, step)
    lines = spelled.lines_of(record)
    slopes = [x and {"kind": x["kind"], "value": pool.array(x["value"])} for x in local]
    slopes += [None] * (len(step.grads) - len(slopes))
    return {
        "op": step.op,
        "dz": pool.add(step.dz),
        "grads": [
            g
            and {
                "tensor": g.tensor,
                "contribution": pool.add(g.contribution),
                "before": pool.add(g.before),
                "after": pool.add(g.after),
                "waiting": g.waiting,
                "local": slope,
                "spelled": line is not None
                and asdict(spelled.spelled(record.formulas[line], values, spelled.whole(g.contribution))),
            }
            for g, slope, line in zip(step.grads, slopes, lines, strict=False)
        ],
    }


def _bug(report: BugReport, pool: _Pool, right: list[StepRecord], trace: Trace) -> dict[str, Any]:
    """A bug for the page: only its steps from the one where it parts, and where that is among the right steps."""
    numbers = {step.op: i + 1 for i, step in enumerate(right)}
    judge = report.judge and {
        **asdict(report.judge),
        "label": trace.label(report.judge.tensor),
        "differs": report.judge.differs,
        "right": _number(report.judge.right),
        "wrong": _number(report.judge.wrong),
        "slope": _number(report.judge.slope),
    }
    return {
        "name": report.name,
        "says": report.says,
        "parts": numbers.get(report.steps[0].op) if report.steps else None,
        "first": report.parts,
        "order": report.order,
        "error": report.error,
        "judge": judge,
        "loss": report.loss and [_number(v) for v in report.loss],
        "steps": [_step(step, pool, [], trace) for step in report.steps],
    }


def _paths(found: paths.Paths) -> dict[str, Any]:
    plain = asdict(found)
    for element in plain["elements"]:
        element["gradient"] = _number(element["gradient"])
        for path in element["paths"]:
            path["derivatives"] = [_number(d) for d in path["derivatives"]]
            path["product"] = _number(path["product"])
    return plain


def _nudge(found: nudges.Nudge) -> dict[str, Any]:
    """A curve: the losses as differences from the loss itself, in few digits."""
    loss = found.losses[nudges.POINTS]
    changes = [_number(float(f"{x - loss:.4g}")) for x in found.losses]
    return {**asdict(found), "gradient": _number(found.gradient), "losses": changes, "loss": _number(loss)}


def _number(value: float) -> Any:
    """A float for JSON, which lacks nan and inf."""
    return value if np.isfinite(value) else str(value)


def layout(records: list[OpRecord], trace: Trace) -> list[dict[str, Any]]:
    """The ops in order of creation as a tree of module calls: the rows of the page's list, from top to bottom.

    A row is a leaf tensor (before the op that first uses it), an op, or a group of rows. Of groups side by side that
    do the same, all are folded.
    """
    top: dict[str, Any] = {"rows": []}
    stack: list[tuple[str, dict[str, Any]]] = []
    placed: set[int] = set()
    for record in records:
        wanted = _prefixes(record)
        kept = 0
        while kept < min(len(stack), len(wanted)) and stack[kept][0] == wanted[kept]:
            kept += 1
        del stack[kept:]
        for path in wanted[kept:]:
            group = {"group": path, "type": trace.modules.get(path, ""), "rows": []}
            (stack[-1][1] if stack else top)["rows"].append(group)
            stack.append((path, group))
        here = stack[-1][1] if stack else top
        if stack:
            here["type"] = record.module_type
        for slot in record.inputs:
            tensor = slot.get("tensor")
            if tensor is not None and tensor not in placed and trace.tensors[tensor].kind in ("parameter", "leaf"):
                placed.add(tensor)
                here["rows"].append({"leaf": tensor})
        here["rows"].append({"op": record.id})
    _fold(top, {r.id: r.op for r in records})
    return top["rows"]


def _prefixes(record: OpRecord) -> list[str]:
    """The paths of the groups an op is in, outermost first; the number in a list of modules makes no level."""
    if not record.module or record.module == record.module_type:  # of the outermost module itself
        return []
    found: list[str] = []
    for part in record.module.split("."):
        path = f"{found[-1]}.{part}" if found else part
        if part.isdigit() and found:
            found[-1] = path
        else:
            found.append(path)
    return found


def _fold(group: dict[str, Any], names: dict[int, str]) -> str:
    """Mark groups that have a like one beside them as folded; what this group does, as text."""
    signatures = []
    for row in group["rows"]:
        while "rows" in row and len(row["rows"]) == 1 and "rows" in row["rows"][0]:  # a module with one inside: one row
            row.update(row["rows"][0])
        if "rows" in row:
            signatures.append(row["type"] + "(" + _fold(row, names) + ")")
        else:
            signatures.append(names[row["op"]] if "op" in row else "leaf")
    for row, signature in zip(group["rows"], signatures, strict=True):
        if "rows" in row:
            row["fold"] = len(row["rows"]) > 3 and signatures.count(signature) > 1
    return " ".join(signatures)
