"""Runs the peers, each in its own process, in turns: A B C A B C, so that what else the machine does hits all alike."""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.configs import config_of, write_task
from benchmarks.peers import NAMES, PEERS, Peer

ROOT = Path(__file__).resolve().parent.parent
PAUSE = 0.1  # seconds between turns: threads of the one before may still be spinning
STEPS = {"micro": 50, "tiny": 30, "nano": 10, "mid": 3, "full": 1}  # per turn
IMPORT = """
import importlib, sys, time
for name in sys.argv[2:]: importlib.import_module(name)
start = time.perf_counter()
module = importlib.import_module(sys.argv[1])
seconds = time.perf_counter() - start
import json, pathlib
files = pathlib.Path(module.__file__).parent.rglob("*")
size = sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
print(json.dumps({"seconds": seconds, "disk_mb": size / 1e6}))
"""


@dataclass
class Row:
    """What was measured of one peer in one case."""

    what: str
    case: str
    peer: str
    label: str
    threads: int | None = None
    unit: str = "ms"
    value: float | None = None  # the median
    least: float | None = None
    times: list[float] = field(default_factory=list)  # seconds
    losses: list[float] = field(default_factory=list)  # of the checked steps
    tokens: list[int] = field(default_factory=list)  # drawn greedily
    agrees: bool | None = None  # with the other peers, in losses and tokens
    peak_mb: float | None = None
    disk_mb: float | None = None
    version: str = ""
    note: str = ""  # why there is no figure

    def settle(self, scale: float) -> None:
        """From times in seconds to the value, in the unit."""
        if self.times and not self.note:
            self.value, self.least = scale * statistics.median(self.times), scale * min(self.times)


class Worker:
    """A running peer: ``ask`` sends a request and waits for the answer."""

    def __init__(self, peer: Peer, python: str) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            self.process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", peer.module],
                cwd=ROOT,
                env={**os.environ, **peer.environment()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
            )
        except OSError as error:
            raise ValueError(f"{python} cannot be run: {error.strerror}") from None

    def hear(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.errors.seek(0)
            last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
            return {"error": f"the process ended ({self.process.wait()}): {' '.join(last)[:200]}"}
        return json.loads(line)

    def ask(self, **request: Any) -> dict[str, Any]:
        if self.process.stdin is None or self.process.poll() is not None:
            return self.hear()
        with contextlib.suppress(BrokenPipeError):  # it just ended: hear() says so
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


@dataclass
class Session:
    """What was asked for on the command line."""

    peers: list[str]  # none: all, but for those that a config is too much for
    pythons: dict[str, str]  # package -> interpreter
    rounds: int
    steps: int | None  # per turn; None: by config
    seconds: float  # per turn
    progress: tqdm
    folder: Path

    def python(self, package: str) -> str:
        return self.pythons.get(package, sys.executable)

    def task(self, config: str) -> dict[str, Any]:
        """The part of a request that names the model and where its weights lie."""
        path = self.folder / f"{config}.npz"
        if not path.exists():
            write_task(config_of(config), path)
        return {"config": config_of(config), "task": str(path)}

    def step(self, config: str, what: str = "step") -> list[Row]:
        """Milliseconds of a training step."""
        return self.compare(what, config, {"do": "train", **self.task(config)}, count=self.count(config))

    def memory(self, config: str) -> list[Row]:
        """Peak memory of a process that trains for a few steps."""
        rows = self.compare("memory", config, {"do": "train", **self.task(config)}, count=2, rounds=1)
        for row in rows:
            row.unit, row.value, row.least = "MB", row.peak_mb, None
        return rows

    def busy(self, config: str) -> list[Row]:
        """The same training step while another process keeps a core busy."""
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            return self.step(config, "busy")
        finally:
            other.kill()
            other.wait()

    def ops(self, _: str) -> list[Row]:
        """Microseconds of a five-op expression of three elements, forward and backward."""
        return self.compare("ops", "(a*b+c).relu().sum()", {"do": "expression"}, count=20, unit="us", scale=1e4)

    def chain(self, length: str) -> list[Row]:
        """Milliseconds of a chain of additions, forward and backward."""
        return self.compare("chain", length, {"do": "chain", "length": int(length)}, count=3, warm=False)

    def sampling(self, case: str) -> list[Row]:
        """Milliseconds to draw 64 tokens with the nano model, batch of 1."""
        request = {"do": "sampler", **self.task("nano"), "tokens": 64, "cached": case == "with cache"}
        return self.compare("sampling", case, request, count=3)

    def count(self, config: str) -> int:
        return self.steps or STEPS.get(config, 10)

    def compare(
        self,
        what: str,
        case: str,
        request: dict[str, Any],
        *,
        count: int,
        rounds: int | None = None,
        warm: bool = True,
        unit: str = "ms",
        scale: float = 1e3,
    ) -> list[Row]:
        """Make the request of every peer, then have each of them time it in turn, so many rounds."""
        peers = [peer for peer in PEERS if (peer.name in self.peers if self.peers else case not in peer.left_out)]
        if what == "memory":
            peers = [peer for peer in peers if peer.name != "products"]  # its arrays are not those of training
        rounds = rounds or self.rounds
        self.progress.reset(total=len(peers) * (rounds + 1))
        found: list[tuple[Row, Worker]] = []
        with contextlib.ExitStack() as stack:
            for peer in peers:
                row = Row(what, case, peer.name, peer.label, peer.threads, unit)
                self.show(row)
                worker = Worker(peer, self.python(peer.package))
                stack.callback(worker.close)
                hello = worker.hear()
                row.version = hello.get("version", "")
                answer = hello if "error" in hello else worker.ask(**request)
                row.losses, row.tokens = answer.get("losses", []), answer.get("tokens", [])
                row.note = answer.get("error", "")
                if hello.get("missing") == peer.package:
                    row.note = f"not installed: pip install {peer.package}"
                if not answer.get("cannot"):
                    found.append((row, worker))
            for row, worker in [pair for _ in range(rounds) for pair in found]:
                self.show(row)
                if row.note:
                    continue
                time.sleep(PAUSE)
                # A step that is long anyway needs no warming up.
                answer = worker.ask(do="time", count=count, seconds=self.seconds, warm=warm and count > 1)
                row.times += answer.get("times", [])
                row.note = answer.get("error", "")
            for row, worker in found:
                row.settle(scale)
                if not row.note:
                    row.peak_mb = worker.ask(do="peak").get("peak_mb")
        rows = [row for row, _ in found]
        check(rows)
        return rows

    def show(self, row: Row) -> None:
        self.progress.set_postfix_str(f"{row.what} {row.case}: {row.label}", refresh=False)
        self.progress.update()

    def imports(self, _: str) -> list[Row]:
        """Milliseconds of an import in fresh processes, and megabytes on disk."""
        found = [Row("import", "", "over", "minigrad, where numpy is imported already")]
        packages = {"over": "minigrad", "numpy": "numpy", "minigrad": "minigrad"}
        chosen = [peer for peer in PEERS if peer.name in (self.peers or NAMES)]
        packages |= {peer.name: peer.package for peer in chosen if peer.name == peer.package}
        found += [Row("import", "", name, package) for name, package in packages.items() if name != "over"]
        turns = 3 * self.rounds
        # Compiled files for all, wherever they are installed: the first turn writes them and does not count.
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.folder)}
        self.progress.reset(total=len(found) * (turns + 1))
        for turn, row in [(turn, row) for turn in range(turns + 1) for row in found]:
            self.show(row)
            if row.note:
                continue
            package = packages[row.peer]
            command = [self.python(package), "-c", IMPORT, package, *["numpy"] * (row.peer == "over")]
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1]
                row.note = f"not installed: pip install {package}" if "ModuleNotFoundError" in last else last
                continue
            answer = json.loads(done.stdout)
            row.times += [answer["seconds"]] * (turn > 0)
            row.disk_mb = answer["disk_mb"]
        for row in found:
            row.settle(1e3)
        return found


def check(rows: list[Row]) -> None:
    """Note which rows agree with the median of all: in losses to 5 decimals, in tokens exactly."""
    with_losses = [row for row in rows if row.losses]
    for row in with_losses[: 0 if len(with_losses) < 2 else None]:
        together = zip(*(r.losses for r in with_losses), strict=True)
        middle = [statistics.median_low([x for x in losses if x == x] or [math.nan]) for losses in together]
        row.agrees = all(abs(a - b) <= 1e-5 for a, b in zip(row.losses, middle, strict=True))  # False for NaN
    with_tokens = [row for row in rows if row.tokens]
    for row in with_tokens[: 0 if len(with_tokens) < 2 else None]:
        row.agrees = tuple(row.tokens) == statistics.mode(tuple(r.tokens) for r in with_tokens)
