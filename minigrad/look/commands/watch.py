"""A script that runs while a recorder watches: what ``step`` and ``graph`` share."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import minigrad
from minigrad.core.graph import state
from minigrad.look.recording import trace
from minigrad.look.texts import inside
from minigrad.tools.script import run_script

SHOWN = 8  # ops that ran before the one that failed


def add_as_torch(parser: argparse.ArgumentParser) -> None:
    """The option --as-torch."""
    parser.add_argument("--as-torch", action="store_true", help="`import torch` in it means minigrad")


@contextmanager
def imports(as_torch: bool) -> Iterator[None]:
    """While it lasts, ``import torch`` means minigrad if so wished, and NumPy does not warn of lines of ours."""
    with minigrad.as_torch() if as_torch else nullcontext(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"minigrad\.")
        yield


def hint(script: str) -> str:
    """What to say where a script may have meant minigrad by ``torch``; nothing if it has not imported PyTorch."""
    torch = sys.modules.get("torch")
    if getattr(torch, "__file__", None) is None:  # not imported, or minigrad in its place
        return ""
    return f". {script} imports PyTorch itself, whose ops are not seen here: --as-torch makes `import torch` minigrad"


def watch(recording: trace, walker: Callable[..., None], script: str, rest: Sequence[str], as_torch: bool) -> int:
    """Run a script under a recording, with a walker for its backward passes; its exit status.

    What stops it with an error is in the recording's ``failure`` afterwards.
    """

    def failed(error: Exception) -> None:
        recording.recorder.failed(error)
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            print("PyTorch is not installed here: --as-torch makes `import torch` mean minigrad", file=sys.stderr)

    try:
        with imports(as_torch), recording:
            state.walker = walker
            run_script(script, rest, failed)
    except SystemExit as end:
        if recording.recorder.trace.failure is None:
            raise
        return end.code if isinstance(end.code, int) else 1
    return 0


def what_ran(recording: trace) -> list[str]:
    """The last ops before a script failed, and the op that did, as lines."""
    record = recording.recorder.trace
    failure: Any = record.failure
    lines = [f"{len(record.ops)} ops ran before that{', the last of them' if len(record.ops) > SHOWN else ''}:"]
    for op in record.ops[-SHOWN:]:
        given = ", ".join(_given(record, slot) for slot in op.inputs)
        where = f"  line {op.source.line}: {op.source.text}" if op.source else ""
        lines.append(f"  {record.label(op.output)} {_shape(record.tensors[op.output].value)} = {op.op}({given}){where}")
    if not record.ops:
        lines = ["No op on anything that wants a gradient ran before that."]
    if failure.op is not None:
        given = ", ".join(
            f"{i['label']} {tuple(i['shape'])}" if "label" in i else str(i["number"]) for i in failure.inputs
        )
        lines.append(f"The op that failed: {failure.op}({given}){inside(failure.module)}")
    if failure.source is not None:
        lines.append(f"  line {failure.source.line}: {failure.source.text}")
    return lines


def _given(record: Any, slot: dict[str, Any]) -> str:
    return record.label(slot["tensor"]) if "tensor" in slot else str(slot["number"])


def _shape(summary: Any) -> str:
    return str(tuple(summary.shape))
