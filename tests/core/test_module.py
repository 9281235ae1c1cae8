"""What the module itself does: hooks of either kind, names, parts that take the place of parts, shared parts."""

from __future__ import annotations

import pytest

import minigrad as mg
from minigrad import nn


def test_either_kind_of_hook_runs_without_the_other():
    called = []
    before, after = nn.Linear(2, 2), nn.Linear(2, 2)
    before.register_forward_pre_hook(lambda module, args: called.append("before"))
    after.register_forward_hook(lambda module, args, output: called.append("after"))
    before(mg.ones(1, 2))
    after(mg.ones(1, 2))
    assert called == ["before", "after"]


@pytest.mark.parametrize("name", ["", "a.b"])
def test_a_name_that_no_part_can_have(name):
    with pytest.raises(KeyError, match="cannot name a part"):
        nn.Module().register_parameter(name, nn.Parameter(mg.ones(1)))
    with pytest.raises(KeyError, match="cannot name a part"):
        setattr(nn.Module(), name, nn.Linear(1, 1))


def test_a_part_takes_the_place_of_one_of_another_kind():
    module = nn.Module()
    module.part = nn.Parameter(mg.ones(1))
    module.part = nn.Linear(1, 1, bias=False)
    assert [name for name, _ in module.named_parameters()] == ["part.weight"]
    module.part = nn.Parameter(mg.ones(3))
    assert [name for name, _ in module.named_modules()] == [""] and module.part.shape == (3,)


def test_a_parameter_in_the_place_of_a_buffer_that_is_not_saved_is_saved():
    module = nn.Module()
    module.register_buffer("part", mg.ones(1), persistent=False)
    assert not module.state_dict()
    module.part = nn.Parameter(mg.ones(2))
    assert module.state_dict()["part"].shape == (2,)


def test_a_shared_part_is_walked_once_unless_every_path_is_wanted():
    module = nn.Module()
    module.first = module.second = nn.Linear(1, 1)
    assert [name for name, _ in module.named_modules()] == ["", "first"]
    assert [name for name, _ in module.named_modules(remove_duplicate=False)] == ["", "first", "second"]
