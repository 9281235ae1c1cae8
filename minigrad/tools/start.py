"""Runs before everything else of the package: under ``python -m minigrad``, the current folder goes off the path.

``python -m`` puts it first, and a file there that is named as a module of Python, such as random.py, would replace it.
"""

import os
import sys

# What Python had loaded by then, and what it looks up by itself later: no file beside a script replaces these.
PYTHONS = frozenset([*sys.modules, "warnings"])


def _is_the_command() -> bool:
    asked = sys.orig_argv[-len(sys.argv)] if sys.argv and sys.argv[0] == "-m" else ""
    return asked.removeprefix("-m").partition(".")[0] == "minigrad"


if _is_the_command() and sys.path and sys.path[0] in ("", os.getcwd()) and not getattr(sys.flags, "safe_path", False):
    _folder = sys.path.pop(0)
    if os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) == os.path.abspath(_folder):
        sys.path.append(_folder)  # a checkout, not installed: processes that are started from here need it

if sys.platform == "wasi":  # no thread can be started there, and a bar would say so at every turn
    from tqdm import tqdm

    tqdm.monitor_interval = 0
