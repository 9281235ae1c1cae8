"""What a checkpoint holds in place of an object that only a pickle could hold, so that no run is lost at its end."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def plainer(obj: Any, place: str, changed: list[str], kind: str = "") -> Any:
    """Something plain in place of an object; None where it cannot be told what is in it. What was done is noted."""
    plain: Any = None
    how = "left out, None is in its place"
    if hasattr(obj, "state_dict") and not isinstance(obj, type):
        plain, how = dict(obj.state_dict()), "as its state_dict()"
    elif dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        plain = {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
        how = "as a dict of its fields"
    elif isinstance(obj, argparse.Namespace | types.SimpleNamespace):
        plain, how = dict(vars(obj)), "as a dict of its attributes"
    elif isinstance(obj, Mapping):
        plain, how = dict(obj), "as a dict"
    elif isinstance(obj, set | frozenset):
        plain, how = sorted(obj, key=repr), "as a list"
    elif isinstance(obj, Path | np.dtype):
        plain, how = str(obj), "as text"
    elif isinstance(obj, enum.Enum):
        plain, how = obj.name, "by its name"
    changed.append(f"{place or 'the object'} ({kind or type(obj).__name__}) {how}")
    return plain


def plain_key(key: Any, place: str, changed: list[str]) -> str | int:
    """A key that is neither a string nor an int as text."""
    if type(key) in (str, int):
        return key
    changed.append(f"the key {key!r} of {place or 'the object'} as text")
    return repr(key)
