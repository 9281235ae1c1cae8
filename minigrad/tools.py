"""The tools for looking, loaded when they are first called, so that importing minigrad stays quick."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def graph(root: Any, level: str | None = None, **options: Any) -> Any:
    """The picture of how a tensor was made, or of a recorded run; Jupyter shows it, ``.save(path)`` writes it.

    ``level``: "module", "op" or "scalar"; ``model=`` gives parameters their names. See ``minigrad.viz.graph.graph``.
    """
    options.setdefault("variables", sys._getframe(1).f_locals)
    return import_module("minigrad.viz.graph").graph(root, level, **options)


def attention(model: Any, text: Any, path: Any = None, **options: Any) -> Any:
    """Run a model on a text and look into its attention; with a path, also write the page there.

    ``tokenizer=`` spells the text, ``loss=`` says what dL/dA is of. See ``minigrad.viz.attention.attention``.
    """
    return import_module("minigrad.viz.attention").attention(model, text, path, **options)


def step(loss: Any, gradient: Any = None) -> None:
    """Walk back from a tensor step by step in the terminal; stands in place of ``loss.backward()``.

    See ``minigrad.debugger.step``.
    """
    import_module("minigrad.debugger").step(loss, gradient)
