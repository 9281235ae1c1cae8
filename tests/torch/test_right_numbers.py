"""Numbers that went wrong elsewhere are right here: the programs of ``right_numbers`` against PyTorch's answers."""

from __future__ import annotations

import json

import pytest
import right_numbers

WRITTEN = json.loads(right_numbers.ANSWERS.read_text())
EVERY = pytest.mark.parametrize("code", right_numbers.PROGRAMS.values(), ids=right_numbers.PROGRAMS)


@EVERY
def test_the_answer_is_right(code: str):
    ours = right_numbers.answer(code, "minigrad")
    assert right_numbers.same(WRITTEN[code], ours), f"{code}\nPyTorch:  {WRITTEN[code]}\nminigrad: {ours}"


@EVERY
def test_the_written_answer_is_pytorchs(code: str):
    pytest.importorskip("torch")
    assert right_numbers.same(WRITTEN[code], right_numbers.answer(code, "torch")), code


def test_every_program_has_an_answer_and_no_other_has():
    assert set(WRITTEN) == set(right_numbers.PROGRAMS.values())
