"""What a training script starts from: its settings, the names of its files, the checkpoint that it goes on from."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

from minigrad.speed.ranks import World
from minigrad.train.checkpoints import MARK, CheckpointError, load
from minigrad.train.files import claim, claim_fresh, output_path, page_mark

CURVE_MARK = b"step,loss,val_loss,lr,grad_norm,tokens_per_second"  # the columns
BESIDE = {".csv": CURVE_MARK, ".html": page_mark("run")}  # what a run writes beside its checkpoint
OF_A_SESSION = ("save_every", "sample", "beams")  # settings that the training does not depend on


def open_run(
    args: argparse.Namespace, name: str, world: World | None = None, **defaults: Any
) -> tuple[dict[str, Any], Path, dict[str, Any] | None]:
    """The settings, the path of the checkpoint, which is now this process's own, and the checkpoint to go on from.

    ``args`` has ``out``, ``resume`` and perhaps ``travel``; the rest are settings. A new run (no checkpoint) goes to
    ``out``, or to runs/``name``.npz, or -2, -3, ...: nothing is overwritten. A resumed one has the settings it was
    started with. The settings named in ``defaults`` may be None in ``args``: then they are the default, or what the run
    had. Of several ranks the main one takes the name. Raises ValueError for a checkpoint of another script, for a
    setting that a resumed run cannot change, and for a path that is taken or does not end in .npz.
    """
    out = _agreed(world or World(), args, name)
    given = {key: value for key, value in vars(args).items() if key not in ("out", "resume", "travel")}
    checkpoint = None
    if args.resume:
        checkpoint = load(args.resume)
        settings = defaults | _settings_in(checkpoint, args.resume)
        if set(settings) != set(given):
            raise ValueError(f"{args.resume} is not a checkpoint of this script")
        _check_types(settings, given | defaults, args.resume)
        options = {f"--{key.replace('_', '-')}": key for key in settings}
        words = {word.partition("=")[0] for word in sys.argv[1:]}
        others = words - {*options, "--", "--out", "--resume", "--travel"}
        begun = tuple(word for word in others if word.startswith("--"))  # --batch is enough for --batch-size
        for option, key in options.items():
            typed = option in words or option.startswith(begun)
            if typed and key not in (*defaults, *OF_A_SESSION) and given[key] != settings[key]:
                raise ValueError(f"{out} was started with {option} {settings[key]}, and goes on so: leave {option} out")
    else:
        settings = given | defaults
    settings |= {key: given[key] for key in defaults if given[key] is not None}
    if checkpoint is not None and checkpoint["step"] >= settings["steps"]:
        print(f"{out} is at step {checkpoint['step']} already: --steps says how far to go")
    return settings, out, checkpoint


def _agreed(world: World, args: argparse.Namespace, name: str) -> Path:
    """The path that the main rank has claimed, on all ranks; or what is wrong with it."""
    out, problem = Path(), None
    if world.main:
        try:
            out = _claimed(args, name)
        except (OSError, ValueError) as error:
            problem = error
    if world.size > 1:
        out, text = world.gather((out, problem and str(problem)))[0]
        problem = problem or (ValueError(text) if text else None)
    if problem is not None:
        raise problem
    return out


def _claimed(args: argparse.Namespace, name: str) -> Path:
    out = args.resume or args.out or Path("runs") / f"{name}.npz"
    if out.suffix != ".npz":
        raise ValueError(f"{out}: a checkpoint's name must end in .npz")
    if args.resume and not out.is_file():
        load(out)  # says what is wrong
    if not (args.resume or args.out):
        return claim_fresh(out, tuple(BESIDE))
    if not args.resume and out.exists():
        raise ValueError(f"{out} exists already: continue it with --resume {out}, or choose another --out")
    claim(out)
    if args.resume:
        output_path(out, MARK)
    for ending, mark in BESIDE.items():
        beside = out.with_suffix(ending)
        if args.resume:
            output_path(beside, mark, [getattr(args, "data", None)])
        elif beside.exists():
            raise ValueError(f"{beside} exists already, where this run would write: choose another --out")
    return out


def _settings_in(checkpoint: Any, path: Path) -> dict[str, Any]:
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("settings", {}), dict):
        raise ValueError(f"{path} is not a checkpoint of this script")
    if type(checkpoint.get("step")) is not int:
        raise CheckpointError(f"{path} does not say at which step it is: it is no checkpoint of a training")
    return dict(checkpoint.get("settings", ()))


def _check_types(settings: dict[str, Any], examples: dict[str, Any], path: Path) -> None:
    for key, value in settings.items():
        wanted = type(examples[key])
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if not fits and examples[key] is not None and value is not None:
            raise CheckpointError(f"{path}: the setting {key} is {value!r}, where a {wanted.__name__} belongs")


def same_text(text: str, checkpoint: dict[str, Any] | None) -> str:
    """The fingerprint of the text of a run, to be saved as "text". ValueError where the run had another before."""
    digest = hashlib.sha256()
    for start in range(0, len(text), 1 << 20):
        digest.update(text[start : start + (1 << 20)].encode("utf-8", "surrogatepass"))
    found = digest.hexdigest()[:16]
    if checkpoint is not None and checkpoint.get("text", found) != found:
        raise ValueError(
            "the text is not the one that this run was started with: go on with that, or start a new run without "
            "--resume"
        )
    return found
