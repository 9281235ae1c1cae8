"""minigrad beside its peers: ``python -m benchmarks [what ...]``, each peer in its own process, in turns."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from benchmarks import attention, report, talk
from benchmarks.configs import CONFIGS, config_of
from benchmarks.goals import GOALS
from benchmarks.measure import Row, Session
from benchmarks.peers import NAMES, PEERS
from benchmarks.profile import profile
from minigrad.tools import cli
from minigrad.train.files import atomic_write, output_path

MARK = b'{\n "machine": '  # how a file of figures begins
WHAT = ("step", "ops", "chain", "memory", "import", "sampling", "busy", "attention")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what", nargs="*", help=f"{', '.join(WHAT)} (with its own options), or all; default: step; or talk"
    )
    parser.add_argument("--config", nargs="+", metavar="NAME", help=f"{', '.join(CONFIGS)}, or six numbers")
    parser.add_argument("--peer", nargs="+", metavar="NAME", default=[], help=f"of {', '.join(NAMES)}")
    parser.add_argument("--python", nargs="+", metavar="PACKAGE=PATH", default=[], help="interpreters of the peers")
    parser.add_argument("--rounds", type=cli.positive_int, default=5, help="how often each has its turn")
    parser.add_argument("--steps", type=cli.positive_int, help="training steps in a turn")
    parser.add_argument("--seconds", type=cli.natural_float, default=3.0, help="start no further step in a turn after")
    parser.add_argument("--goals", action="store_true", help="say which goals are met")
    parser.add_argument("--profile", metavar="CONFIG", help="where minigrad's own step time goes, by op; nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    given = parser.parse_args()
    given.what = list(WHAT) if "all" in given.what else given.what or ["step"]
    one_of("what", given.what, WHAT)
    one_of("--peer", given.peer, NAMES)
    packages = [peer.package for peer in PEERS]
    one_of("--python", [pair.partition("=")[0] for pair in given.python], packages)
    if not all("=" in pair for pair in given.python):
        raise ValueError("--python wants PACKAGE=PATH, such as torch=/usr/bin/python3")
    given.python = dict(pair.split("=", 1) for pair in given.python)
    for name in given.config or []:
        config_of(name)
    return given


def one_of(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{option} {name!r} is none of {', '.join(dict.fromkeys(known))}")


def measure(given: argparse.Namespace, session: Session) -> list[Row]:
    """All that was asked for, in that order."""
    configs = given.config
    cases = {
        "step": (session.step, configs or ["micro", "tiny", "nano"]),
        "ops": (session.ops, [""]),
        "chain": (session.chain, ["10000", "100000"]),
        "memory": (session.memory, configs or ["nano", "full"]),
        "import": (session.imports, [""]),
        "sampling": (session.sampling, ["with cache", "without cache"]),
        "busy": (session.busy, configs or ["nano"]),
    }
    return [row for what in given.what if what in cases for case in cases[what][1] for row in cases[what][0](case)]


def main() -> int:
    if sys.argv[1:2] == ["attention"]:
        del sys.argv[1]
        attention.main()
        return 0
    if sys.argv[1:2] == ["talk"]:
        del sys.argv[1]
        return talk.main()
    given = arguments()
    if given.json:
        output_path(given.json, MARK)
    with tempfile.TemporaryDirectory() as folder:
        if given.profile:
            print(profile(config_of(given.profile), given.steps or 20, Path(folder)))
            return 0
        before = report.machine()
        with tqdm(file=sys.stderr, unit="turn", disable=None) as bar:
            session = Session(given.peer, given.python, given.rounds, given.steps, given.seconds, bar, Path(folder))
            rows = measure(given, session)
    print(report.heading(before, rows))
    print(report.tables(rows))
    if given.goals:
        print(f"\n{report.goals(rows)}")
    if given.json:
        found = [{"goal": str(goal), "measured": goal.measured(rows)} for goal in GOALS]
        content = {"machine": before, "rows": [asdict(row) for row in rows], "goals": found}
        with atomic_write(given.json, MARK) as file:
            file.write(json.dumps(content, indent=1).encode())
    if "attention" in given.what:
        del sys.argv[1:]
        attention.main()
    wrong = [row for row in rows if row.agrees is False or (row.note and row.peer in ("minigrad", "plain"))]
    for row in wrong:
        reason = row.note or "its losses or tokens differ from those of the others"
        print(f"error: {row.label}, {row.what} {row.case}: {reason}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    cli.run(main)
