"""Programs on derivatives of derivatives show what they show on PyTorch: see ``derivative_programs``."""

from __future__ import annotations

import json

import derivative_programs
import pytest

WRITTEN = json.loads(derivative_programs.ANSWERS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", derivative_programs.PROGRAMS)
def test_a_program_shows_what_it_shows_on_pytorch(name):
    code = derivative_programs.PROGRAMS[name]
    ours = json.loads(json.dumps(derivative_programs.answer(code, "minigrad")))
    assert derivative_programs.same(WRITTEN[name], ours), f"{code}\nPyTorch:  {WRITTEN[name]}\nminigrad: {ours}"


def test_the_answers_are_pytorchs():
    pytest.importorskip("torch")
    for name, code in derivative_programs.PROGRAMS.items():
        theirs = json.loads(json.dumps(derivative_programs.answer(code, "torch")))
        assert derivative_programs.same(WRITTEN[name], theirs), name
