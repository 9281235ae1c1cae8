"""Transformer layers and stacks: masks, both places of the norm, copies, gradients, state-dict keys."""

import copy
import math
from functools import partial

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad
from minigrad import nn
from minigrad.core.tensor import Tensor
from minigrad.nn import functional as F

B, S, T, C, H = 2, 5, 4, 8, 2
ENCODER_LAYER = """
    self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight self_attn.out_proj.bias
    linear1.weight linear1.bias linear2.weight linear2.bias norm1.weight norm1.bias norm2.weight norm2.bias
""".split()
DECODER_LAYER = """
    self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight self_attn.out_proj.bias
    multihead_attn.in_proj_weight multihead_attn.in_proj_bias
    multihead_attn.out_proj.weight multihead_attn.out_proj.bias
    linear1.weight linear1.bias linear2.weight linear2.bias
    norm1.weight norm1.bias norm2.weight norm2.bias norm3.weight norm3.bias
""".split()

encoder_layer = partial(nn.TransformerEncoderLayer, C, H, 12, dropout=0.0, batch_first=True)
decoder_layer = partial(nn.TransformerDecoderLayer, C, H, 12, dropout=0.0, batch_first=True)
transformer = partial(nn.Transformer, C, H, 2, 2, 12, dropout=0.0, batch_first=True)
both_norms = pytest.mark.parametrize("norm_first", [False, True])


@pytest.fixture(autouse=True)
def seeded():
    minigrad.manual_seed(0)


def randn(*shape, seed=0, requires_grad=False):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad)


def causal(length):
    """True where attention is not allowed."""
    return Tensor(~np.tri(length, dtype=bool))


def changed(x, *index):
    """A copy with other numbers at an index; not all shifted alike, which a norm would take away again."""
    array = x._array.copy()
    array[index] += np.linspace(-1, 2, C)
    return Tensor(array)


def padding(*lengths, size):
    return Tensor(np.arange(size) >= np.array(lengths)[:, None])


def stirred(module):
    """The module in float64 with no parameter left at 0 or 1, where mistakes could hide."""
    for parameter in module.double().parameters():
        parameter.data += randn(*parameter.shape) * 0.1
    return module


@both_norms
def test_encoder_layer_is_its_formula(norm_first):
    layer, x = stirred(encoder_layer(norm_first=norm_first, activation="gelu")), randn(B, S, C)

    def attend(x):
        return layer.self_attn(x, x, x)[0]

    def feed(x):
        return layer.linear2(F.gelu(layer.linear1(x)))

    if norm_first:
        y = x + attend(layer.norm1(x))
        want = y + feed(layer.norm2(y))
    else:
        y = layer.norm1(x + attend(x))
        want = layer.norm2(y + feed(y))
    assert layer(x).allclose(want, rtol=0, atol=1e-12)


@both_norms
def test_decoder_layer_is_its_formula(norm_first):
    layer, x, memory = stirred(decoder_layer(norm_first=norm_first)), randn(B, T, C), randn(B, S, C, seed=1)

    def attend(x):
        return layer.self_attn(x, x, x)[0]

    def look(x):
        return layer.multihead_attn(x, memory, memory)[0]

    def feed(x):
        return layer.linear2(F.relu(layer.linear1(x)))

    if norm_first:
        y = x + attend(layer.norm1(x))
        y = y + look(layer.norm2(y))
        want = y + feed(layer.norm3(y))
    else:
        y = layer.norm1(x + attend(x))
        y = layer.norm2(y + look(y))
        want = layer.norm3(y + feed(y))
    assert layer(x, memory).allclose(want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gelu", F.silu, nn.GELU("tanh")])
def test_activations(activation):
    layer, x = stirred(encoder_layer(activation=activation)), randn(B, S, C)
    function = {"relu": F.relu, "gelu": F.gelu}.get(activation) if isinstance(activation, str) else activation
    y = layer.norm1(x + layer.self_attn(x, x, x)[0])
    want = layer.norm2(y + layer.linear2(function(layer.linear1(y))))
    assert layer(x).allclose(want, rtol=0, atol=1e-12)
    assert list(layer.state_dict()) == ENCODER_LAYER


def test_batch_first_and_no_batch_are_the_same_numbers():
    net, other = stirred(transformer()), transformer(batch_first=False).double()
    other.load_state_dict(net.state_dict())
    src, tgt, hidden = randn(B, S, C), randn(B, T, C, seed=1), padding(3, 5, size=S)
    masks = {"src_key_padding_mask": hidden, "memory_key_padding_mask": hidden}
    out = net(src, tgt, tgt_mask=causal(T), **masks)
    assert out.shape == (B, T, C)
    swapped = other(src.transpose(0, 1), tgt.transpose(0, 1), tgt_mask=causal(T), **masks)
    assert swapped.transpose(0, 1).allclose(out, rtol=0, atol=1e-12)
    for module in (net, other):
        alone = module(src[0], tgt[0], tgt_mask=causal(T), **{name: mask[0] for name, mask in masks.items()})
        assert alone.allclose(out[0], rtol=0, atol=1e-12)


@both_norms
def test_a_padded_token_changes_no_real_output(norm_first):
    encoder = nn.TransformerEncoder(encoder_layer(norm_first=norm_first), 2)
    x, hidden = randn(B, S, C).float(), padding(3, 5, size=S)
    before, after = encoder(x, src_key_padding_mask=hidden), encoder(changed(x, 0, 3), src_key_padding_mask=hidden)
    assert after[0, :3].equal(before[0, :3]) and after[1].equal(before[1])
    assert not after[0, 3].allclose(before[0, 3])
    assert not encoder(changed(x, 0, 2), src_key_padding_mask=hidden)[0, :2].allclose(before[0, :2])
    assert encoder(x[:1, :3])[0].allclose(before[0, :3], atol=1e-6)


@both_norms
def test_padded_source_and_target_change_no_real_output(norm_first):
    net, src, tgt = transformer(norm_first=norm_first), randn(B, S, C).float(), randn(B, T, C, seed=1).float()
    masks = {
        "tgt_mask": causal(T),
        "src_key_padding_mask": padding(3, 5, size=S),
        "memory_key_padding_mask": padding(3, 5, size=S),
        "tgt_key_padding_mask": padding(4, 2, size=T),
    }
    before = net(src, tgt, **masks)
    assert net(changed(src, 0, slice(3, None)), tgt, **masks).equal(before)
    after = net(src, changed(tgt, 1, 2), **masks)
    assert after[0].equal(before[0]) and after[1, :2].equal(before[1, :2]) and not after[1, 2].equal(before[1, 2])
    assert not net(changed(src, 0, 2), tgt, **masks)[0].allclose(before[0])


@both_norms
@pytest.mark.parametrize("how", ["bool", "float", "is_causal", "both", "with padding"])
def test_a_later_token_changes_no_earlier_output(norm_first, how):
    kind = nn.Transformer.generate_square_subsequent_mask
    masks = {
        "bool": {"mask": causal(S)},
        "float": {"mask": kind(S)},
        "is_causal": {"is_causal": True},
        "both": {"mask": kind(S), "is_causal": True},
        "with padding": {"mask": kind(S), "src_key_padding_mask": padding(4, 5, size=S)},
    }[how]
    encoder = nn.TransformerEncoder(encoder_layer(norm_first=norm_first), 2, nn.LayerNorm(C))
    x = randn(B, S, C).float()
    before = encoder(x, **masks)
    for t in range(S - 1):
        after = encoder(changed(x, slice(None), t), **masks)
        assert after[:, :t].equal(before[:, :t])
        assert not after[:, t + 1].allclose(before[:, t + 1])
    net, src = transformer(norm_first=norm_first), randn(B, T, C, seed=1).float()
    named = {"mask": "tgt_mask", "is_causal": "tgt_is_causal", "src_key_padding_mask": "tgt_key_padding_mask"}
    masks = {named[name]: mask for name, mask in masks.items()}
    before, after = net(src, x, **masks), net(src, changed(x, slice(None), 2), **masks)
    assert after[:, :2].equal(before[:, :2]) and not after[:, 2].allclose(before[:, 2])


def test_ways_to_say_causal_agree():
    encoder, x = nn.TransformerEncoder(encoder_layer(), 2), randn(B, S, C).float()
    out = encoder(x, causal(S))
    heads = Tensor(np.repeat(causal(S)._array[None], B * H, axis=0))
    for masks in (
        {"mask": nn.Transformer.generate_square_subsequent_mask(S)},
        {"is_causal": True},
        {"mask": causal(S), "is_causal": True},
        {"mask": heads},
    ):
        assert encoder(x, **masks).allclose(out, atol=1e-6)
    assert not encoder(x).allclose(out, atol=1e-2)


def test_masks_of_the_memory():
    net, src, tgt = transformer(), randn(B, S, C).float(), randn(B, T, C, seed=1).float()
    blind = np.zeros((T, S), dtype=bool)
    blind[:, 1] = True
    memory = net.encoder(src)
    out = net.decoder(tgt, memory, memory_mask=Tensor(blind))
    assert net.decoder(tgt, changed(memory, slice(None), 1), memory_mask=Tensor(blind)).equal(out)
    assert not net.decoder(tgt, changed(memory, slice(None), 2), memory_mask=Tensor(blind)).allclose(out)
    ladder = net.decoder(tgt, memory, memory_mask=Tensor(~np.tri(T, S, dtype=bool)))
    assert net.decoder(tgt, memory, memory_is_causal=True).equal(ladder)
    assert net(src, tgt, memory_mask=Tensor(blind)).allclose(out, atol=1e-6)


@both_norms
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_fully_masked_row_mixes_zeros_and_has_finite_gradients(norm_first, kind):
    layer, x = stirred(encoder_layer(norm_first=norm_first)), randn(B, S, C, requires_grad=True)
    hidden = padding(0, S, size=S)
    if kind == "float":
        hidden = Tensor(np.where(hidden._array, -math.inf, 0.0))
    attended = layer.self_attn(x, x, x, key_padding_mask=hidden, need_weights=False)[0]
    zeros = layer.self_attn.out_proj.bias.expand(S, C)  # the output projection of zeros
    assert attended[0].equal(zeros) and not attended[1].allclose(zeros)
    out = layer(x, src_mask=causal(S), src_key_padding_mask=hidden)
    assert np.isfinite(out._array).all()
    out.square().sum().backward()
    assert all(np.isfinite(y.grad._array).all() for y in (x, *layer.parameters()))
    net, src = stirred(transformer(norm_first=norm_first)), randn(B, S, C, requires_grad=True)
    out = net(src, randn(B, T, C), src_key_padding_mask=hidden, memory_key_padding_mask=hidden)
    out.square().sum().backward()
    assert all(np.isfinite(y.grad._array).all() for y in (out.detach(), src, *net.parameters()) if y.requires_grad)
    assert np.isfinite(out._array).all() and not src.grad[0]._array.any() and src.grad[1]._array.any()


@both_norms
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_the_encoder_layer(norm_first, bias):
    layer = nn.TransformerEncoderLayer(4, 2, 3, 0.0, "gelu", batch_first=True, norm_first=norm_first, bias=bias)
    masks = {"src_mask": causal(3), "src_key_padding_mask": padding(2, 3, size=3)}
    all_gradients(stirred(layer), lambda x: layer(x, **masks), randn(2, 3, 4, requires_grad=True))


@both_norms
def test_gradients_of_the_decoder_layer(norm_first):
    layer = stirred(nn.TransformerDecoderLayer(4, 2, 3, 0.0, "gelu", batch_first=True, norm_first=norm_first))
    masks = {"tgt_mask": causal(2), "memory_key_padding_mask": padding(2, 3, size=3)}
    tgt, memory = randn(2, 2, 4, requires_grad=True), randn(2, 3, 4, seed=1, requires_grad=True)
    all_gradients(layer, lambda *x: layer(*x, **masks), tgt, memory)


def test_gradients_of_the_whole():
    net = stirred(nn.Transformer(2, 1, 2, 1, 3, 0.0, "gelu"))
    src, tgt = randn(3, 1, 2, requires_grad=True), randn(2, 1, 2, seed=1, requires_grad=True)
    all_gradients(net, lambda *x: net(*x, tgt_is_causal=True), src, tgt)


def test_state_dict_keys():
    assert list(encoder_layer().state_dict()) == ENCODER_LAYER
    assert list(decoder_layer().state_dict()) == DECODER_LAYER
    assert list(nn.TransformerEncoder(encoder_layer(), 2).state_dict()) == [
        f"layers.{i}.{name}" for i in range(2) for name in ENCODER_LAYER
    ]
    assert list(transformer().state_dict()) == [
        *(f"encoder.layers.{i}.{name}" for i in range(2) for name in ENCODER_LAYER),
        *("encoder.norm.weight", "encoder.norm.bias"),
        *(f"decoder.layers.{i}.{name}" for i in range(2) for name in DECODER_LAYER),
        *("decoder.norm.weight", "decoder.norm.bias"),
    ]
    assert list(encoder_layer(bias=False).state_dict()) == [n for n in ENCODER_LAYER if not n.endswith("bias")]


def test_stacked_layers_start_equal_and_share_nothing():
    layer = encoder_layer()
    stack = nn.TransformerEncoder(layer, 3)
    one, two = stack.layers[0], stack.layers[1]
    assert all(x.equal(y) for x, y in zip(one.parameters(), two.parameters(), strict=True))
    every = [*layer.parameters(), *stack.parameters()]
    assert len({id(p) for p in every}) == 4 * len(ENCODER_LAYER)
    assert not any(np.shares_memory(p._array, q._array) for p in every for q in every if p is not q)
    stack(randn(B, S, C).float()).sum().backward()
    assert all(p.grad is not None for p in stack.parameters()) and layer.linear1.weight.grad is None
    one.linear1.weight.data.zero_()
    assert two.linear1.weight._array.any()


def test_a_copy_computes_the_same():
    net, src, tgt = transformer(norm_first=True), randn(B, S, C).float(), randn(B, T, C).float()
    assert copy.deepcopy(net)(src, tgt).equal(net(src, tgt))


def test_matrices_of_the_whole_start_xavier_uniform():
    net = nn.Transformer(32, 4, 1, 1, 64)
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            bound = math.sqrt(6 / sum(parameter.shape))
            assert 0.95 * bound < np.abs(parameter._array).max() <= bound, name


def test_dropout_acts_in_training_only():
    net = nn.Transformer(C, H, 1, 1, 12, dropout=0.5, batch_first=True)
    src, tgt = randn(B, S, C).float(), randn(B, T, C).float()
    assert not net(src, tgt).equal(net(src, tgt))
    net.eval()
    assert net(src, tgt).equal(net(src, tgt))


def test_the_causal_mask():
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == [[0, -math.inf, -math.inf], [0, 0, -math.inf], [0, 0, 0]] and mask.dtype == np.float32
    assert nn.Transformer.generate_square_subsequent_mask(2, dtype=np.float64).dtype == np.float64


def test_own_encoder_and_decoder():
    class Plain(nn.Module):
        def forward(self, *inputs, **masks):
            return inputs[0]

    net, tgt = nn.Transformer(C, custom_encoder=Plain(), custom_decoder=Plain()), randn(T, C)
    assert net(randn(S, C), tgt) is tgt


def test_wrong_settings_are_named():
    net = transformer()
    with pytest.raises(ValueError, match=r"'relu', 'gelu' or a function, got 'tanh'"):
        encoder_layer(activation="tanh")
    with pytest.raises(ValueError, match="batch size: 2 and 1"):
        net(randn(2, S, C), randn(1, T, C))
    with pytest.raises(ValueError, match="d_model=8"):
        net(randn(2, S, C), randn(2, T, 4))
    with pytest.raises(ValueError, match="multiple of num_heads"):
        nn.TransformerEncoderLayer(8, 3)
