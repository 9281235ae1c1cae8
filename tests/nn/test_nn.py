"""Modules: names, order, saving and loading, modes, scopes; layers, attention, initial weights, clipping."""

import copy
import math
import threading
import warnings

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad
from minigrad import nn
from minigrad.core.graph import no_grad, state
from minigrad.core.tensor import Tensor, apply
from minigrad.nn import functional as F
from minigrad.nn import init, utils
from minigrad.torch.creation import tensor


class Tied(nn.Module):
    """A table and an output layer on the same weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(self.embedding(ids))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(3, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.query(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.register_buffer("table", minigrad.zeros(2))
        self.register_buffer("scratch", minigrad.ones(2), persistent=False)
        self.scale = nn.Parameter(minigrad.ones(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x * self.scale


def randn(*shape, dtype=np.float32):
    return Tensor(np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype))


def test_names_come_in_order_of_assignment():
    names = ["scale", *(f"blocks.{i}.query.{p}" for i in (0, 1) for p in ("weight", "bias"))]
    assert [n for n, _ in Net().named_parameters()] == names
    assert list(Net().state_dict()) == ["scale", "table", *names[1:]]
    assert [n for n, _ in Net().named_modules()][:4] == ["", "blocks", "blocks.0", "blocks.0.query"]
    assert [n for n, _ in Net().named_buffers()] == ["table", "scratch"]
    net = Net()
    assert net.get_submodule("blocks.1.query") is net.blocks[1].query
    assert net.get_parameter("blocks.1.query.bias") is net.blocks[1].query.bias
    with pytest.raises(AttributeError, match=r"blocks\.2"):
        net.get_submodule("blocks.2")


def test_state_dict_shares_memory_and_round_trips():
    a, b = Net(), Net()
    saved = a.state_dict()
    assert not any(t.requires_grad for t in saved.values())
    assert np.shares_memory(saved["scale"]._array, a.scale._array)
    assert b.load_state_dict(saved) == ([], [])
    assert all(x.equal(y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not np.shares_memory(a.scale._array, b.scale._array)


def test_a_load_that_does_not_fit_tells_everything_and_changes_nothing():
    net = Net()
    before = {name: t._array.copy() for name, t in net.state_dict().items()}
    wrong = {name: Tensor(t + 1) for name, t in before.items()}
    del wrong["table"]
    wrong["extra"] = minigrad.ones(1)
    wrong["blocks.0.query.weight"] = minigrad.ones(2, 3)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(wrong)
    text = str(caught.value)
    assert "Missing key(s) in state_dict: table" in text
    assert "Unexpected key(s) in state_dict: extra" in text
    assert "size mismatch for blocks.0.query.weight: (2, 3)" in text
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict(wrong, strict=False)
    assert all(np.array_equal(t._array, before[name]) for name, t in net.state_dict().items())
    del wrong["blocks.0.query.weight"]
    missing, unexpected = net.load_state_dict(wrong, strict=False)
    assert missing == ["table", "blocks.0.query.weight"] and unexpected == ["extra"]
    assert np.array_equal(net.scale._array, before["scale"] + 1)


def test_a_load_keeps_the_dtype_of_the_model():
    layer = nn.Linear(2, 2)
    layer.load_state_dict({"weight": np.eye(2), "bias": np.ones(2)})
    assert layer.weight.dtype == np.float32 and layer.weight.tolist() == [[1, 0], [0, 1]]


def test_tied_weights_count_once():
    net = Tied()
    assert [n for n, _ in net.named_parameters()] == ["embedding.weight"]
    assert list(net.state_dict()) == ["embedding.weight", "head.weight"]
    assert "Tied(  # 28 parameters\n" in repr(net)
    assert repr(net).splitlines()[2].endswith("bias=False)  # parameters shared with the above")
    ids = tensor([1, 2, 1])
    F.cross_entropy(net(ids), ids).backward()
    tied = net.embedding.weight.grad.numpy()

    table = nn.Parameter(net.embedding.weight.detach().clone())
    head = nn.Parameter(table.detach().clone())
    F.cross_entropy(F.linear(F.embedding(ids, table), head), ids).backward()
    np.testing.assert_allclose(tied, table.grad.numpy() + head.grad.numpy(), rtol=1e-5)
    norm = np.linalg.norm(tied)
    assert utils.clip_grad_norm_(net.parameters(), 1e-3).item() == pytest.approx(norm, rel=1e-5)
    assert np.linalg.norm(net.embedding.weight.grad.numpy()) == pytest.approx(1e-3, rel=1e-3)


def test_repr_shows_settings_and_counts():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False))
    assert repr(net) == (
        "Sequential(  # 20 parameters\n"
        "  (0): Linear(in_features=3, out_features=4, bias=True)  # 16 parameters\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=4, out_features=1, bias=False)  # 4 parameters\n"
        ")"
    )
    assert "(0-1): 2 x Block(  # 12 parameters" in repr(Net())


def test_forgotten_super_init_is_named():
    class Careless(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"Careless.*super\(\)\.__init__\(\)"):
        Careless()


def test_attribute_errors_name_the_class():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        nn.Linear(1, 1).wieght  # noqa: B018
    with pytest.raises(TypeError, match="assign a Parameter"):
        nn.Linear(1, 1).weight = minigrad.ones(1, 1)
    with pytest.raises(NotImplementedError, match="ModuleList"):
        nn.ModuleList()()
    assert not hasattr(nn.Linear(1, 1), "wieght")


def test_assignment_moves_names_between_kinds():
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert layer.bias is None and list(layer.state_dict()) == ["weight"]
    del layer.bias
    layer.bias = nn.Linear(1, 1)
    assert [n for n, _ in layer.named_modules()] == ["", "bias"]
    net = Net()
    net.table = minigrad.ones(2)
    assert net.state_dict()["table"].tolist() == [1, 1]


def test_training_mode_reaches_every_module():
    net = Net().eval()
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    x = randn(4, 3)
    assert not net(x).equal(net(x))
    net.eval()
    assert net(x).equal(net(x))


def test_dtype_changes_in_place():
    net = Net()
    scale = net.scale
    net(randn(1, 3)).sum().backward()
    assert net.double() is net and net.scale is scale
    assert {t.dtype for t in net.state_dict().values()} == {np.dtype(np.float64)}
    assert net.table.dtype == scale.grad.dtype == np.float64
    assert net(randn(1, 3, dtype=np.float64)).dtype == np.float64
    assert net.to("cpu").float().scale.dtype == np.float32
    with pytest.raises(ValueError, match="cuda"):
        net.to("cuda")


def test_zero_grad_freeze_apply():
    net, seen = Net(), []
    net.apply(seen.append)
    assert seen[-1] is net and len(seen) == 8
    net(randn(2, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0, 0, 0]
    net.zero_grad()
    assert net.scale.grad is None
    assert not net.requires_grad_(False)(randn(2, 3)).requires_grad


def test_hooks_see_and_change():
    layer, seen = nn.Identity(), []
    first = layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
    second = layer.register_forward_hook(lambda module, args, output: output * 2)
    third = layer.register_forward_hook(lambda module, args, output: seen.append(output.item()))
    assert layer(tensor(1.0)).item() == 4 and seen == [4]
    for handle in (first, second, third, third):
        handle.remove()
    assert layer(tensor(1.0)).item() == 1


def test_a_copy_is_independent_and_knows_its_own_paths():
    net = Net()
    x = randn(2, 3)
    net(x)
    twin = copy.deepcopy(net)
    with no_grad():
        twin.scale.fill_(0)
    assert net.scale.tolist() == [1, 1, 1]
    tied = copy.deepcopy(Tied())
    assert tied.head.weight is tied.embedding.weight
    with pytest.raises(ValueError, match=r"blocks\.0\.query"):
        twin(randn(2, 4))


def test_an_error_names_the_path_of_the_module():
    net = Net()
    with pytest.raises(ValueError, match=r"in blocks\.0\.query"):
        net(randn(2, 5))
    assert state.scope == ""
    with pytest.raises(ValueError, match="in Linear:"):
        nn.Linear(3, 3)(randn(2, 5))


def test_scopes_follow_the_structure():
    class Scope(nn.Module):
        def forward(self, seen):
            seen.append(state.scope)
            return seen

    root = nn.Sequential(Scope(), nn.Sequential(Scope()))
    assert root([]) == ["0", "1.0"]
    root.append(Scope())
    assert root([]) == ["0", "1.0", "2"]
    root.insert(0, nn.Identity())
    assert root([]) == ["1", "2.0", "3"]
    del root[1]
    assert root([]) == ["1.0", "2"]
    assert root[1]([]) == ["0"]
    assert root[2]([]) == ["Scope"]
    seen = []
    root.register_forward_pre_hook(lambda module, args: seen.append(state.scope))
    outside = Scope()
    root.register_forward_hook(lambda module, args, output: outside(seen))
    root([])
    assert seen == ["Sequential", "Scope"]
    thread = threading.Thread(target=lambda: seen.append(root[1]([])))
    thread.start()
    thread.join()
    assert seen[-1] == ["0"] and state.scope == ""


def test_containers():
    layers = [nn.Linear(i + 1, i + 2) for i in range(4)]
    row = nn.Sequential(*layers)
    assert row[-1] is layers[3] and list(row[1:3]) == layers[1:3] and isinstance(row[:2], nn.Sequential)
    assert row(randn(2, 1)).shape == (2, 5)
    named = nn.Sequential({"first": layers[0], "then": layers[1]})
    assert named[1] is layers[1] and next(iter(named.state_dict())) == "first.weight"
    listed = nn.ModuleList(layers[:2])
    listed.extend(layers[2:])
    listed.insert(1, nn.ReLU())
    assert len(listed) == 5 and listed[-1] is layers[3] and listed[2] is layers[1]
    del listed[0]
    assert [n for n, _ in listed.named_children()] == ["0", "1", "2", "3"]
    listed[0] = layers[0]
    assert listed[:1][0] is layers[0]
    with pytest.raises(IndexError, match="no \\[4\\]"):
        listed[4]
    with pytest.raises(TypeError, match="must be a Module"):
        listed.append(3)
    mapping = nn.ModuleDict({"b": layers[0], "a": layers[1]})
    assert list(mapping) == ["b", "a"] and "b" in mapping and mapping.pop("b") is layers[0] and len(mapping) == 1
    assert len(list(nn.ParameterList([minigrad.ones(2), minigrad.ones(3)]).parameters())) == 2


def test_a_layer_collects_gradients_without_an_optimizer():
    layer = nn.Linear(3, 2)
    layer(randn(5, 3)).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.tile(randn(5, 3).numpy().sum(0), (2, 1)), rtol=1e-5)
    assert layer.bias.grad.tolist() == [5, 5]


def test_initial_distributions():
    minigrad.manual_seed(1)
    layer = nn.Linear(100, 200)
    for p in (layer.weight, layer.bias):
        assert p.dtype == np.float32 and 0.09 < np.abs(p._array).max() <= 0.1
    assert layer.weight._array.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)
    table = nn.Embedding(300, 50, padding_idx=-1)
    assert table.weight._array.std() == pytest.approx(1, rel=0.02) and not table.weight._array[-1].any()
    table(tensor([1, 299])).sum().backward()
    assert not table.weight.grad.numpy()[299].any() and table.weight.grad.numpy()[1].all()
    minigrad.manual_seed(1)
    assert nn.Linear(100, 200).weight.equal(layer.weight)


def test_norms_and_flatten():
    x = randn(4, 6)
    z = nn.LayerNorm(6)(x).detach().numpy()
    np.testing.assert_allclose(z.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(z.var(-1), 1, rtol=1e-4)
    np.testing.assert_allclose((nn.RMSNorm(6)(x).detach().numpy() ** 2).mean(-1), 1, rtol=1e-4)
    assert nn.LayerNorm(6, bias=False).bias is None and nn.LayerNorm(6, elementwise_affine=False).weight is None
    assert nn.Flatten()(randn(2, 3, 4)).shape == (2, 12)
    with pytest.raises(ValueError, match="normalized_shape"):
        nn.LayerNorm(5)(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout(dtype):
    x = Tensor(np.ones((100, 100), dtype=dtype))
    drop = nn.Dropout(0.2)
    minigrad.manual_seed(3)
    a = drop(x)
    minigrad.manual_seed(3)
    assert drop(x).equal(a) and a.dtype == dtype
    assert set(np.unique(a.numpy())) == {0, dtype(1.25)} and a.numpy().mean() == pytest.approx(1, abs=0.02)
    assert drop.eval()(x) is x
    assert not nn.Dropout(1.0)(x).numpy().any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        F.dropout(x, 1.5)


def test_losses_as_modules_and_functions():
    x, target = randn(4, 3), tensor([0, 2, 1, 2])
    loss = nn.CrossEntropyLoss()(x, target)
    assert loss.item() == pytest.approx(nn.NLLLoss()(nn.LogSoftmax(-1)(x), target).item(), rel=1e-5)
    assert F.cross_entropy(x, F.one_hot(target, 3).float()).item() == pytest.approx(loss.item(), rel=1e-5)
    y = randn(4, 4)[:, 1:]
    assert nn.MSELoss()(x, y).item() == pytest.approx(((x - y) ** 2).mean().item())
    assert nn.L1Loss(reduction="sum")(x, y).item() == pytest.approx((x - y).abs().sum().item())
    flags = tensor([True, False, True])
    scores = tensor([1.0, 2.0, -3.0])
    expected = -(scores.sigmoid().log()[0] + (1 - scores.sigmoid()).log()[1] + scores.sigmoid().log()[2]) / 3
    assert nn.BCEWithLogitsLoss()(scores, flags).item() == pytest.approx(expected.item(), rel=1e-5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        F.mse_loss(randn(3, 1), randn(3))
    assert "broadcasting" in str(caught[0].message)
    with pytest.raises(ValueError, match="reduction"):
        nn.MSELoss(reduction="average")


def test_one_hot_and_pad():
    assert F.one_hot(tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.pad(minigrad.ones(1, 2), (1, 0, 0, 1), value=5).tolist() == [[5, 1, 1], [5, 5, 5]]
    with pytest.raises(ValueError, match="classes 0 to 1"):
        F.one_hot(tensor([2]), 2)


def test_attention_function_masks_and_groups():
    q, k, v = randn(2, 4, 3, 5), randn(2, 2, 6, 5), randn(2, 2, 6, 5)
    out = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    wide = [Tensor(np.repeat(x.numpy(), 2, axis=1)) for x in (k, v)]
    assert out.allclose(F.scaled_dot_product_attention(q, *wide), rtol=1e-5)
    mask = tensor(np.random.default_rng(0).random((3, 6)) < 0.5)
    mask[:, 0] = True
    bias = Tensor(np.where(mask.numpy(), 0, -np.inf).astype(np.float32))
    a, b = (F.scaled_dot_product_attention(q, *wide, attn_mask=m) for m in (mask, bias))
    assert a.allclose(b, atol=1e-6)
    bias = nn.Parameter(randn(3, 6))
    F.scaled_dot_product_attention(q, *wide, attn_mask=bias).sum().backward()
    assert bias.grad.shape == (3, 6) and bias.grad.numpy().any()
    with pytest.raises(ValueError, match="not both"):
        F.scaled_dot_product_attention(q, *wide, attn_mask=mask, is_causal=True)
    with pytest.raises(TypeError, match="bool or floating"):
        F.scaled_dot_product_attention(q, *wide, attn_mask=tensor([1, 0, 1, 0, 1, 0]))


def plain_attention(layer, query, key, value, allowed):
    """Batch first, one head after the other."""
    size = layer.embed_dim
    w, b = layer.in_proj_weight, layer.in_proj_bias
    q, k, v = (F.linear(x, w[i : i + size], b[i : i + size]) for x, i in ((query, 0), (key, size), (value, 2 * size)))
    heads, weights = [], []
    for start in range(0, size, layer.head_dim):
        part = slice(start, start + layer.head_dim)
        scores = q[..., part] @ k[..., part].transpose(-2, -1) / math.sqrt(layer.head_dim)
        weights.append(scores.masked_fill(~allowed, -math.inf).softmax(-1))
        heads.append(weights[-1] @ v[..., part])
    return layer.out_proj(minigrad.cat(heads, -1)), minigrad.stack(weights, 1)


def test_multihead_attention_is_a_plain_composition():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    query, key, value = randn(3, 4, 8), randn(3, 5, 8), randn(3, 8, 5).transpose(1, 2)
    padding = tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
    future = Tensor(~np.tri(4, 5, dtype=bool))
    allowed = ~padding.unsqueeze(1) & ~future
    expected, each = plain_attention(layer, query, key, value, allowed)
    for need in (True, False):
        z, weights = layer(query, key, value, padding, need, future)
        np.testing.assert_allclose(z.detach().numpy(), expected.detach().numpy(), atol=1e-6)
    assert weights is None
    _, weights = layer(query, key, value, padding, attn_mask=future, average_attn_weights=False)
    assert weights.shape == (3, 2, 4, 5) and weights.allclose(each, atol=1e-6)
    added = Tensor(np.where(future.numpy(), -np.inf, 0).astype(np.float32))
    z, weights = layer(query, key, value, padding, attn_mask=added)
    assert z.allclose(expected, atol=1e-6) and weights.allclose(each.mean(1), atol=1e-6)
    assert layer(query, key, value, padding, is_causal=True)[0].allclose(expected, atol=1e-6)

    layer.batch_first = False
    z, _ = layer(*(x.transpose(0, 1) for x in (query, key, value)), padding, attn_mask=future)
    assert z.transpose(0, 1).allclose(expected, atol=1e-6)
    z, weights = layer(query[0], key[0], value[0], padding[0], attn_mask=future)
    assert z.shape == (4, 8) and weights.shape == (4, 5) and z.allclose(expected[0], atol=1e-6)


@pytest.mark.parametrize("need_weights", [True, False])
def test_fully_masked_rows_are_zero_with_finite_gradients(need_weights):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = randn(2, 3, 4).requires_grad_()
    padding = tensor([[True] * 3, [False] * 3])
    z, _ = layer(x, x, x, padding, need_weights)
    assert z[0].equal(layer.out_proj.bias.detach() + minigrad.zeros(3, 4))
    z.sum().backward()
    assert np.isfinite(x.grad.numpy()).all() and not x.grad.numpy()[0].any() and x.grad.numpy()[1].any()
    assert all(np.isfinite(p.grad.numpy()).all() for p in layer.parameters())


def test_multihead_attention_keys_and_refusals():
    same = nn.MultiheadAttention(4, 2)
    assert list(same.state_dict()) == ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    bound = math.sqrt(6 / (12 + 4))
    assert 0.8 * bound < np.abs(same.in_proj_weight._array).max() <= bound and not same.in_proj_bias._array.any()
    other = nn.MultiheadAttention(4, 2, kdim=3, vdim=5, bias=False)
    assert list(other.state_dict()) == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]
    z, weights = other(randn(6, 2, 4), randn(7, 2, 3), randn(7, 2, 5))
    assert z.shape == (6, 2, 4) and weights.shape == (2, 6, 7)
    with pytest.raises(ValueError, match="multiple"):
        nn.MultiheadAttention(4, 3)
    with pytest.raises(ValueError, match="attn_mask must be"):
        same(randn(6, 2, 4), randn(6, 2, 4), randn(6, 2, 4), attn_mask=minigrad.zeros(2, 2))


def test_initialisers():
    minigrad.manual_seed(0)
    w = nn.Parameter(minigrad.empty(200, 100))
    assert init.xavier_uniform_(w) is w and w.requires_grad
    assert w._array.std() == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    assert init.xavier_normal_(w)._array.std() == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    assert init.kaiming_uniform_(w, nonlinearity="relu")._array.std() == pytest.approx(math.sqrt(2 / 100), rel=0.02)
    assert init.kaiming_normal_(w, mode="fan_out")._array.std() == pytest.approx(math.sqrt(2 / 200), rel=0.02)
    init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04)
    assert np.abs(w._array).max() <= 0.04 and w._array.std() == pytest.approx(0.02 * 0.8796, rel=0.02)
    init.trunc_normal_(w, a=8, b=20)  # far out in the tail
    assert w._array.min() >= 8 and w._array.max() < 11
    np.testing.assert_allclose(init.orthogonal_(w)._array.T @ w._array, np.eye(100), atol=1e-5)
    assert init.eye_(w)._array.trace() == 100 and init.ones_(w).sum().item() == 20000
    assert init.calculate_gain("tanh") == pytest.approx(5 / 3)
    with pytest.raises(ValueError, match="2 axes"):
        init.xavier_uniform_(minigrad.zeros(3))


def with_grads(*grads):
    parameters = [nn.Parameter(minigrad.zeros(len(g))) for g in grads]
    for p, g in zip(parameters, grads, strict=True):
        p.grad = Tensor(np.array(g, dtype=np.float32))
    return parameters


def test_clipping_the_norm():
    a, b = with_grads([3.0, 0.0], [0.0, 4.0])
    norm = utils.clip_grad_norm_((p for p in [a, b, nn.Parameter(minigrad.ones(1))]), 1.0)
    assert norm.item() == 5 and norm.shape == () and norm.dtype == np.float32
    np.testing.assert_allclose([a.grad.numpy(), b.grad.numpy()], [[0.6, 0], [0, 0.8]], rtol=1e-5)
    assert utils.clip_grad_norm_([a, b], 2.0).item() == pytest.approx(1)
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0], rtol=1e-5)
    assert utils.clip_grad_norm_([a, b], 10, norm_type=math.inf).item() == pytest.approx(0.8)
    assert utils.clip_grad_norm_([a, b], 10, norm_type=1).item() == pytest.approx(1.4)
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    utils.clip_grad_value_([a, b], 0.5)
    assert a.grad.tolist() == [0.5, 0.0]


def test_clipping_huge_and_broken_gradients():
    (p,) = with_grads([3e30, 4e30])
    assert utils.clip_grad_norm_(p, 1.0).item() == pytest.approx(5e30, rel=1e-5)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-5)
    a, b = with_grads([math.nan], [1.0])
    with pytest.raises(RuntimeError, match="nan"):
        utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
    assert b.grad.item() == 1 and math.isnan(utils.clip_grad_norm_([a, b], 1.0).item())


def test_parameters_as_a_vector():
    net = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,) and vector.requires_grad
    utils.vector_to_parameters(minigrad.arange(9).float(), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and net.bias.tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match=r"\(9,\)"):
        utils.vector_to_parameters(minigrad.zeros(8), net.parameters())


@pytest.mark.parametrize("shape, dim", [((3,), -1), ((3, 2), 0), ((2, 5, 4), 1)])
def test_glu_of_an_odd_size_is_an_error(shape, dim):
    with pytest.raises(ValueError, match=rf"glu halves dim {dim}, whose size must be even, but it is {shape[dim]}"):
        F.glu(minigrad.ones(shape), dim)


def test_one_wrong_element_of_a_gradient_is_noticed():
    def bent(x, *, wrong):
        def backward(dz):
            dx = 2 * x * dz
            dx.flat[5] += wrong
            return (dx,)

        return x * x, backward

    model = nn.Linear(3, 2).double()
    x = minigrad.randn(4, 3, dtype=minigrad.float64, requires_grad=True)
    assert all_gradients(model, lambda x: apply(bent, model(x), wrong=0.0), x)
    with pytest.raises(AssertionError, match="tensor 0 "):
        all_gradients(model, lambda x: apply(bent, model(x), wrong=1e-3), x)
