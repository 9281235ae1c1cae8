"""What the module itself does: hooks of either kind, names, parts that take the place of parts, shared parts."""

from __future__ import annotations

import copy
import weakref

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


def test_parts_are_attributes_and_change_through_either_name():
    net = nn.Linear(2, 3)
    weight, other = net.weight, nn.Parameter(mg.ones(3, 2))
    assert vars(net)["weight"] is weight and net._parameters["weight"] is weight
    net._parameters["weight"] = other
    assert net.weight is other and next(net.parameters()) is other
    net._parameters.update(bias=None)
    assert net.bias is None and list(net._parameters) == ["weight", "bias"] and len(list(net.parameters())) == 1
    assert net._parameters.pop("weight") is other and not hasattr(net, "weight") and "weight" not in net.state_dict()
    net._parameters["weight"] = weight
    assert list(net._parameters.items()) == [("bias", None), ("weight", weight)] and len(net._parameters) == 2
    net._buffers["scale"] = mg.ones(1)
    net.scale = mg.zeros(1)
    assert (
        net._buffers["scale"].item() == 0 and "scale" not in net._parameters and list(net.state_dict())[-1] == "scale"
    )
    with pytest.raises(KeyError):
        del net._modules["weight"]
    with pytest.raises(KeyError):
        net._parameters["scale"]
    assert repr(net._modules) == "{}" and net.weight is weight


def test_the_kept_list_of_parameters_follows_the_parts():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    before = list(net.parameters())
    net[1].weight = net[0].weight
    assert [id(p) for p in net.parameters()] == [id(p) for p in (*before[:2], before[3])]
    del net[1].bias
    assert len(list(net.parameters())) == 2
    gone = weakref.ref(before[3])
    del before
    assert gone() is None  # nothing is kept alive by the list
    net[0].register_parameter("more", nn.Parameter(mg.ones(2)))
    net.append(nn.Linear(1, 1))
    assert len(list(net.parameters())) == 5
    copied = copy.deepcopy(net)
    assert {id(p) for p in copied.parameters()}.isdisjoint({id(p) for p in net.parameters()})
    assert copied[1].weight is copied[0].weight and len(list(copied.parameters())) == 5


def test_an_own_listing_of_parameters_is_asked_each_time():
    class Chosen(nn.Linear):
        only = ("weight", "bias")

        def named_parameters(self, *args, **kwargs):
            return (pair for pair in super().named_parameters(*args, **kwargs) if pair[0] in self.only)

    net = Chosen(2, 2)
    assert len(list(net.parameters())) == 2
    net.only = ("bias",)
    assert list(net.parameters()) == [net.bias]


def test_an_own_getattr_may_ask_the_base_class_for_a_part():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

    assert Wrapper(nn.Linear(2, 5)).out_features == 5
