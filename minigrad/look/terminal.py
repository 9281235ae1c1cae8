"""The stepper in a terminal, in the manner of pdb, and ``step(loss)``, which opens it."""

from __future__ import annotations

import cmd
import linecache
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minigrad.core.graph import Step, state
from minigrad.core.tensor import Tensor
from minigrad.look.mistakes import BUGS, with_bug
from minigrad.look.nudges import Rerun, promise, step_of
from minigrad.look.pages.graph_page import Graph
from minigrad.look.pages.stepper_page import inline, save_stepper_page, stepper_path
from minigrad.look.recording import Contribution, Recorder, Summary
from minigrad.look.spelled import equation, introduction, sentence, shown
from minigrad.look.stepping import Breakpoint, Stepper
from minigrad.look.texts import index, inside
from minigrad.ops import Array

LETTERS = {
    "s": "step", "n": "next", "c": "continue", "r": "run", "q": "quit", "b": "break", "cl": "clear", "w": "where",
    "l": "list", "f": "formula", "p": "print", "v": "verify", "h": "help",
}  # fmt: skip


class Quit(SystemExit):
    """The user has seen enough."""


class Terminal(cmd.Cmd):
    """The stepper in a terminal: pdb's letters and habits. An empty line repeats the last command."""

    prompt = "(step) "

    def __init__(self, stepper: Stepper, stdout: Any = None, stdin: Any = None) -> None:
        super().__init__(stdin=stdin, stdout=stdout)
        self.use_rawinput = stdin is None
        self.stepper = stepper
        self.trace = stepper.trace
        self.run_on = False  # whether the script is to stop at its next backward()

    def say(self, *lines: str) -> None:
        self.stdout.write("".join(f"{line}\n" for line in lines))

    def start(self) -> None:
        """Say where we are, and take commands until one lets the program go on."""
        first = self.trace.passes[-1]
        where = f" ({first.source.file}:{first.source.line})" if first.source else ""
        value = self.trace.tensors[first.root].value
        number = f" = {_number(value.data[0])}" if value.data and len(value.data) == 1 else ""
        root = f"{self.trace.label(first.root)}{number}{where}"
        self.say(
            f"backward() of {root}: {self.stepper.total} ops to walk back through.",
            *(f"  {line}" for line in introduction(self.trace, len(self.trace.passes) - 1)),
            "s makes a step, c goes on to a breakpoint or the end, h lists the commands, q quits.",
        )
        while True:
            try:
                self.cmdloop()
                return
            except KeyboardInterrupt:  # noqa: PERF203
                self.say("", "interrupted; q quits")

    # Moving

    def do_step(self, _: str) -> None:
        """s(tep): make the next step of backward."""
        self.show() if self.stepper.forward() else self.end()

    def do_next(self, _: str) -> None:
        """n(ext): go on to the next module."""
        self.show() if self.stepper.next_module() else self.end()

    def do_continue(self, _: str) -> bool | None:
        """c(ontinue): go on to a breakpoint, or to the end; at the end, let the program go on."""
        if self.stepper.finished:
            return True
        point = self.stepper.to_break()
        if point is None:
            self.end()
        else:
            self.say(f"breakpoint: {point}")
            self.show()
        return None

    def do_run(self, _: str) -> bool:
        """r(un): finish this backward pass and let the program run to its next backward()."""
        while self.stepper.forward():
            pass
        self.run_on = True
        return True

    def do_back(self, _: str) -> None:
        """back: look at the step before; nothing is undone."""
        if not self.stepper.back():
            self.say("this is the start")
        elif self.stepper.current is None:
            self.say("at the start: no step has been made yet")
        else:
            self.show()

    def do_forward(self, _: str) -> None:
        """forward: look at the next step that was made already (then s makes new ones)."""
        if self.stepper.position < len(self.stepper.made):
            self.stepper.forward()
            self.show()
        else:
            self.say("this is the newest step: s makes another")

    def do_quit(self, _: str) -> NoReturn:
        """q(uit): end the program."""
        raise Quit(0)

    def do_EOF(self, _: str) -> NoReturn:
        """Ctrl-D: end the program."""
        self.say("")
        raise Quit(0)

    # Breakpoints

    def do_break(self, text: str) -> None:
        """b(reak) WHERE: stop at an op (matmul), module (blocks.0), tensor (head.weight), line (41 or model.py:41),
        nan (a number that is not finite), norm > 10 (a gradient's norm). Without WHERE: list the breakpoints."""
        if not text:
            for number, point in enumerate(self.stepper.breakpoints, 1):
                self.say(f"{number}  {point}")
            if not self.stepper.breakpoints:
                self.say("no breakpoints")
            return
        point = self.stepper.breakpoint_for(text)
        if point not in self.stepper.breakpoints:
            self.stepper.breakpoints.append(point)
        self.say(f"breakpoint {self.stepper.breakpoints.index(point) + 1}: {point}")

    def do_clear(self, text: str) -> None:
        """cl(ear) [NUMBER]: remove a breakpoint, or all."""
        if not text:
            self.stepper.breakpoints.clear()
            self.say("all breakpoints removed")
        elif text.isdigit() and 1 <= int(text) <= len(self.stepper.breakpoints):
            self.say(f"removed: {self.stepper.breakpoints.pop(int(text) - 1)}")
        else:
            raise ValueError(f"there is no breakpoint {text}; b lists them")

    # Looking

    def do_where(self, _: str) -> None:
        """w(here): the ops this gradient has come through, from the root to here."""
        for number, step in enumerate(self.stepper.made[: self.stepper.position], 1):
            op = self.trace.ops[step.op]
            mark = "->" if number == self.stepper.position else "  "
            self.say(f"{mark} {number:3} {op.op}{inside(op.module)}  {op.source.text if op.source else ''}".rstrip())

    def do_list(self, _: str) -> None:
        """l(ist): the source around the current line."""
        source = self.op().source
        if source is None:
            raise ValueError("the source line was not recorded")
        for line in range(max(1, source.line - 5), source.line + 6):
            text = linecache.getline(str(Path(source.file)), line).rstrip()
            if text or line <= source.line:
                self.say(f"{line:5} {'->' if line == source.line else '  '} {text}")

    def do_formula(self, _: str) -> None:
        """f(ormula): the formulas of the current op: forward, then the gradients."""
        self.say(*(f"  {line}" for line in self.op().formulas))

    def do_print(self, text: str) -> None:
        """p(rint) NAME: a tensor (loss, head.weight, matmul_12), its gradient (head.weight.grad), dz, or what the
        current op saved (saved.x); with an index: scores[0, 1]. Without NAME: the names."""
        if not text:
            self.say("  ".join(self.names()))
            return
        name, part = re.fullmatch(r"([^\[]*)((?:\[.*\])?)", text.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
        value = self.value(name.strip())
        if isinstance(value, Summary):
            self.say(f"{name}: {_in_short(value)}; its elements were not recorded")
            return
        if part:
            value = np.asarray(eval(f"array{part}", {"array": value, "__builtins__": {}}))
        self.say(f"{text.strip()} {value.shape} {value.dtype}", np.array2string(value, precision=4, threshold=200))

    def do_saved(self, _: str) -> None:
        """saved: the arrays the current op kept for its backward."""
        for name, summary in self.op().saved.items():
            self.say(f"  {name:12} {_in_short(summary)}")

    def do_verify(self, _: str) -> None:
        """v(erify): compare this very step with finite differences."""
        for check in self.stepper.verify():
            if check.agrees:
                known = check.checked - check.unknown
                part = "every element" if known == check.size else f"{known} of {check.size} elements"
                largest = f"largest difference {check.difference:.1e}"
                self.say(f"  {check.name}: agrees with finite differences, {part} ({largest})")
            elif check.unknown < check.checked:
                self.say(
                    f"  {check.name}{list(check.index)}: backward says {_number(check.analytic)}, "
                    f"finite difference {_number(check.numeric)}"
                )
            if check.unknown or (not check.agrees and not check.checked):
                where = f"at {check.unknown} of {check.size} elements" if check.unknown else "here"
                self.say(f"  {check.name}: {where} the function is not finite, finite differences cannot tell")

    def do_nudge(self, text: str) -> None:
        """nudge NAME [BY]: move a number of a leaf (w, head.weight[0, 1]) and hold what its gradient promises against
        what the loss really does. Without BY: by about a tenth of it."""
        found = re.fullmatch(r"([^\[\s]+)\s*(\[[^\]]*\])?\s*(\S+)?", text.strip())
        if not found:
            raise ValueError("nudge what? nudge w, or nudge w[0, 1] 0.1")
        name, part, by = found.groups()
        leaves = [t for t in self.trace.tensors if t.made_by is None and self.trace.label(t.id) == name]
        if not leaves or leaves[-1].kind == "constant":
            raise ValueError(f"{name!r} is no leaf that wants a gradient")
        self.finish()
        rerun = Rerun(self.stepper.recorder, len(self.trace.passes) - 1)
        tensor, shape = leaves[-1].id, rerun.base.values[leaves[-1].id].shape
        place = tuple(int(i) for i in re.findall(r"-?\d+", part or ""))
        if len(place) != len(shape):
            raise ValueError(f"{name} has {len(shape)} axes: nudge {name}[{', '.join('0' for _ in shape)}]")
        gradient = rerun.base.backward().gradients[tensor]
        value = rerun.base.values[tensor]
        by_number = float(by) if by else step_of(value, place)
        before, after = rerun.loss(tensor, value), rerun.moved(tensor, place, by_number)
        said = promise(f"{name}{part or ''}", float(value[place]), by_number, float(gradient[place]), before, after)
        self.say(f"  {said}")

    def do_bug(self, name: str) -> None:
        """bug NAME: what this pass would have come to with a classic mistake in the engine, and the first step that
        goes wrong. Without NAME: the mistakes."""
        if not name:
            self.say(*(f"  {name:15} {bug.says}" for name, bug in BUGS.items()))
            return
        if name not in BUGS:
            raise ValueError(f"{name!r} is no bug known here: {', '.join(BUGS)}")
        self.finish()
        report = with_bug(name, self.stepper.recorder, len(self.trace.passes) - 1)
        self.say(report.says + ":")
        if report.error or report.parts is None:
            self.say(f"  {report.error or 'no difference in this pass'}")
            return
        op = self.trace.ops[report.order[report.parts]]
        self.say(f"  goes wrong at step {report.parts + 1}: {op.op}{inside(op.module)}")
        if report.judge is not None:
            place = index(report.judge.index) if report.judge.index else ""
            self.say(f"  {self.trace.label(report.judge.tensor)}{place}: {report.judge}")

    def do_graph(self, text: str) -> None:
        """graph FILE: write the picture of the graph (.svg, .png, .pdf, .html or .dot)."""
        self.say(f"written: {Graph.from_trace(self.trace).save(text or 'graph.svg')}")

    def do_page(self, text: str) -> None:
        """page FILE: finish this pass and write its steps as a page (.html)."""
        path = stepper_path(text or "step.html")
        self.finish()
        self.say(save_stepper_page(path, self.stepper.recorder, path.stem, len(self.trace.passes) - 1))

    # Shared

    def finish(self) -> None:
        """Make the steps that are left; the position stays."""
        position = self.stepper.position
        while self.stepper.forward():
            pass
        self.stepper.position = position

    def op(self) -> Any:
        step = self.stepper.current
        if step is None:
            raise ValueError("no step has been made yet: s makes one")
        return self.trace.ops[step.op]

    def show(self) -> None:
        """The current step in a few lines."""
        step, op = self.stepper.current, self.op()
        assert step is not None
        self.say(f"step {self.stepper.position} of {self.stepper.total}: {op.op}{inside(op.module)}")
        if op.source:
            self.say(f"  {op.source.file}:{op.source.line} {op.source.function}", f"    {op.source.text}")
        self.say(
            f"  {sentence(self.trace, op)}",
            *(f"    {line}" for line in op.formulas[1:]),
            f"  dz of {self.named(op.output)}: {_in_short(step.dz)}",
        )
        for i, grad in enumerate(step.grads):
            if grad is not None:
                self.say(f"  to {self.named(grad.tensor)}: {_in_short(grad.contribution)}{_sum(grad)}")
                written = equation(self.trace, op, step, i)
                self.say(*([f"    {written}"] if written else []))

    def named(self, tensor: int) -> str:
        """A tensor by its label, with the piece of source that it is where it has no name."""
        label, name = self.trace.label(tensor), shown(self.trace, tensor)
        return label if name == label else f"{label}, {name}"

    def end(self) -> None:
        leaves = {
            g.tensor for s in self.stepper.made for g in s.grads if g and self.trace.tensors[g.tensor].made_by is None
        }
        self.say(
            f"backward is complete: {len(leaves)} leaves have their gradient. c goes on with the program, q quits."
        )

    def value(self, name: str) -> Array | Summary:
        """The array that a name stands for. Raises ValueError for names that stand for nothing (yet)."""
        recorder, step = self.stepper.recorder, self.stepper.current
        if name == "dz" and step is not None:
            return recorder.upstream[step.op]
        if name.startswith("saved.") and step is not None:
            saved = self.op().saved.get(name.removeprefix("saved."))
            if saved is not None:
                return _whole(saved)
        wants_grad = name.endswith(".grad")
        for record in reversed(self.trace.tensors):
            if self.trace.label(record.id) == name.removesuffix(".grad"):
                if not wants_grad:
                    return recorder.arrays.get(record.id, record.value)
                return _whole(self.gradient(record.id))
        raise ValueError(f"{name!r} stands for nothing here; p alone lists the names")

    def gradient(self, tensor: int) -> Summary:
        """The gradient of a tensor as it stands at the current position."""
        for step in reversed(self.stepper.made[: self.stepper.position]):
            for grad in reversed(step.grads):
                if grad is not None and grad.tensor == tensor:
                    return grad.after
        raise ValueError(f"the gradient of {self.trace.label(tensor)} is not yet computed")

    def names(self) -> list[str]:
        """All names that print knows here."""
        names = dict.fromkeys(self.trace.label(t.id) for t in self.trace.tensors)
        if self.stepper.current is not None:
            names |= dict.fromkeys(["dz", *(f"saved.{name}" for name in self.op().saved)])
        return list(names)

    # pdb's habits

    def onecmd(self, line: str) -> bool:
        command, argument, _ = self.parseline(line)
        if command in LETTERS:
            line = f"{LETTERS[command]} {argument or ''}"
        try:
            return bool(super().onecmd(line))
        except (ValueError, IndexError, TypeError, NameError, SyntaxError, OSError, ImportError) as error:
            self.say(f"*** {error}")
            return False

    def default(self, line: str) -> None:
        self.say(f"*** {line.split()[0]!r} is no command; h lists them")

    def do_help(self, arg: str) -> None:
        """h(elp) [COMMAND]: the commands, or one of them."""
        name = LETTERS.get(arg, arg)
        if arg:
            text = getattr(getattr(self, f"do_{name}", None), "__doc__", None)
            if text is None:
                raise ValueError(f"{arg!r} is no command; h lists them")
            self.say(" ".join(text.split()))
            return
        for attribute in self.get_names():
            if attribute.startswith("do_") and attribute != "do_EOF":
                self.say("  " + " ".join((getattr(self, attribute).__doc__ or attribute).split()))

    def completedefault(self, text: str, line: str, begin: int, end: int) -> list[str]:
        words = self.names() + sorted({o.op for o in self.trace.ops} | {o.module for o in self.trace.ops if o.module})
        start = shlex.split(line[:end])[-1] if line[:end].split() else ""
        cut = len(start) - len(text)
        return [word[cut:] for word in words if word.startswith(start)]


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _in_short(summary: Summary) -> str:
    """The elements of a very small array, else its shape and statistics."""
    bad = f", {summary.nonfinite} not finite" if summary.nonfinite else ""
    if summary.data is not None and len(summary.data) <= 8:
        numbers = ", ".join(_number(v) for v in summary.data)
        return numbers if not summary.shape else f"{tuple(summary.shape)} [{numbers}]"
    if summary.norm is None:
        return f"{tuple(summary.shape)}{bad}"
    spread = f"{_number(summary.min)} to {_number(summary.max)}, norm {_number(summary.norm)}"
    return f"{tuple(summary.shape)} {spread}{bad}"


def _sum(grad: Contribution) -> str:
    before = "" if grad.before is None else f", added to {_in_short(grad.before)} gives {_in_short(grad.after)}"
    return before + (f"; {grad.waiting} more to come" if grad.waiting else "")


def _whole(summary: Summary) -> Array | Summary:
    if summary.data is None:
        return summary
    return np.array(summary.data, dtype=summary.dtype).reshape(summary.shape)


class Debugger:
    """Stops at ``backward()`` and hands over to a terminal; what ``python -m minigrad step`` installs.

    The first ``skip`` calls of backward go by.
    """

    def __init__(
        self, recorder: Recorder, open_terminal: Callable[[Stepper], Terminal] = Terminal, skip: int = 0
    ) -> None:
        self.recorder = recorder
        self.left = skip
        self.open_terminal = open_terminal
        self.stopping = True
        self.breakpoints: list[Breakpoint] = []

    def on_backward(self, root: Tensor, gradient: Array, steps: Iterator[Step]) -> None:
        """Walk this pass under the user's commands."""
        if self.left and self.recorder._known(root) is not None:
            self.left -= 1
            self.recorder.skip(root, steps)
            return
        if not self.stopping or not self.recorder.begin(root, gradient):
            return
        stepper = Stepper(self.recorder, steps)
        stepper.breakpoints = self.breakpoints
        terminal = self.open_terminal(stepper)
        terminal.start()
        self.stopping = terminal.run_on
        if not self.stopping:
            state.observer = None


def step(loss: Tensor, gradient: Any = None) -> None:
    """Walk back from a tensor step by step in the terminal; stands in place of ``loss.backward()``.

    In a notebook the whole backward pass is made, and shown as a page below the cell.

    Inside ``with minigrad.trace(live=True):`` the steps have source lines, names and values; otherwise what the graph
    itself holds. Raises RuntimeError where there is no graph.
    """
    holder = getattr(state.observer, "__self__", None)
    recorder = holder if isinstance(holder, Recorder) else Recorder(live=True)
    if recorder is not holder:
        recorder.from_graph(loss)
    display = _notebook()
    before = state.walker
    state.walker = Debugger(recorder).on_backward if display is None else recorder.on_backward
    try:
        loss.backward(gradient)
    finally:
        state.walker = before
    if display is not None:
        display({"text/html": inline(recorder), "text/plain": repr(recorder.trace)}, raw=True)


def _notebook() -> Callable[..., None] | None:
    """How to show something below the cell that runs; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return ipython.display.display if ipython is not None and hasattr(shell, "kernel") else None
