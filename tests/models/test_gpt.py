"""GPT: what it computes, that it never sees the future, that its cache changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from every_parameter import all_gradients

import minigrad as mg
from minigrad import nn
from minigrad.models.generate import choose
from minigrad.models.gpt import GPT, GPTConfig
from minigrad.models.parts import POSITIONS, Cache

TINY = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
SCHEMES = [
    *({"positions": word} for word in POSITIONS),
    *({"attention": word, "window": 2, "features": 4} for word in ("longformer", "performer")),
    {"attention": "performer", "positions": "rotary", "features": 4},
]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: "-".join(map(str, s.values())))


def make(dtype: object = mg.float32, **changes: object) -> GPT:
    mg.manual_seed(0)
    model = GPT(replace(TINY, **changes)).to(dtype)
    with mg.no_grad():
        for parameter in model.parameters():  # away from the near-zero start, where mistakes hardly show
            parameter.add_(0.3 * mg.randn(parameter.shape, dtype=parameter.dtype))
    return model


def some_ids(batch: int, time: int, seed: int = 0) -> mg.Tensor:
    return mg.tensor(np.random.default_rng(seed).integers(0, TINY.vocab_size, (batch, time)))


@every_scheme
def test_every_gradient_of_the_whole_model(scheme):
    model = make(mg.float64, **scheme)
    ids, targets = some_ids(2, 5), some_ids(2, 5, seed=1)
    assert all_gradients(model, lambda: model(ids, targets)[1])


@every_scheme
def test_the_future_is_not_seen(scheme):
    model = make(**scheme).eval()
    ids = some_ids(2, 8)
    logits = model(ids)[0].detach()
    for t in range(8):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % TINY.vocab_size
        again = model(changed)[0].detach()
        assert (again[:, :t] == logits[:, :t]).all()
        assert not (again[:, t:] == logits[:, t:]).all()


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("chunks", [(1,) * 8, (3, 1, 4), (8,)])
def test_the_cache_changes_nothing(chunks, positions):
    model = make(mg.float64, positions=positions).eval()
    ids = some_ids(2, 8)
    full = model(ids)[0].detach().numpy()
    caches = model.new_caches()
    with mg.no_grad():
        parts = [model(part, caches=caches)[0] for part in ids.split(chunks, dim=1)]
    np.testing.assert_allclose(mg.cat(parts, dim=1).numpy(), full, atol=1e-12)
    assert [cache.length for cache in caches] == [8, 8]


def test_a_full_cache_takes_no_more():
    cache, token = Cache(2), mg.ones(1, 1, 1, 3)
    for length in (1, 2):
        assert [x.shape for x in cache.append(token, token)] == [(1, 1, length, 3)] * 2
    with pytest.raises(ValueError, match="3 tokens do not fit into a cache for 2"):
        cache.append(token, token)


def test_gradients_go_through_the_cache():
    model, ids, weights = make(mg.float64), some_ids(2, 8), mg.randn(2, 8, TINY.vocab_size, dtype=mg.float64)
    wanted = mg.autograd.grad((model(ids)[0] * weights).sum(), list(model.parameters()))
    caches = model.new_caches()
    parts = [model(part, caches=caches)[0] for part in ids.split((3, 1, 1, 3), dim=1)]
    found = mg.autograd.grad((mg.cat(parts, dim=1) * weights).sum(), list(model.parameters()))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-10)


@pytest.mark.parametrize("scheme", [{}, {"positions": "rotary"}, {"attention": "longformer", "window": 3}])
def test_sampling_with_and_without_cache_past_the_context(scheme):
    model = make(**scheme)
    start = some_ids(2, 3)
    for temperature, top_k, top_p in [(0.0, None, None), (1.0, None, None), (0.7, 3, None), (1.0, None, 0.8)]:
        drawn = [
            model.generate(start, 20, temperature, top_k, top_p, mg.Generator().manual_seed(5), use_cache)
            for use_cache in (True, False)
        ]
        assert (drawn[0] == drawn[1]).all() and drawn[0].shape == (2, 23)
    assert model.training


def test_the_model_is_what_it_says():
    model = make()
    assert model.head.weight is model.token_embedding.weight
    assert sum(p.numel() for p in model.parameters()) == sum(v.size for v in _unique_arrays(model))
    logits, loss = model(some_ids(3, 4))
    assert logits.shape == (3, 4, 11) and loss is None
    with pytest.raises(ValueError, match="9 tokens do not fit into the context of 8"):
        model(some_ids(1, 9))
    with pytest.raises(IndexError, match=r"embedding\(.*in token_embedding.*rows 0 to 10"):
        model(mg.tensor([[11]]))


def _unique_arrays(model: nn.Module) -> list[np.ndarray]:
    return list({id(v._array): v._array for v in model.state_dict().values()}.values())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"n_embd": 10, "n_head": 4}, "n_embd=10 must be divisible by n_head=4"),
        ({"n_layer": 0}, "n_layer must be at least 1"),
        ({"dropout": 1.5}, "dropout"),
        ({"positions": "fourier"}, "positions must be one of learned, sinusoidal, rotary, alibi, relative, got 'fou"),
        ({"attention": "sparse"}, "attention must be one of full, longformer, linformer, performer"),
        ({"attention": "performer", "positions": "alibi"}, "take learned, sinusoidal or rotary"),
    ],
)
def test_wrong_sizes(wrong, text):
    with pytest.raises(ValueError, match=text):
        GPTConfig(**{"vocab_size": 11, **wrong})


def test_a_causal_linformer_is_refused():
    with pytest.raises(ValueError, match="the future too"):
        make(attention="linformer")


def test_generate_arguments():
    model = make()
    for wrong, text in [({"temperature": -1.0}, "temperature"), ({"top_k": 0}, "top_k"), ({"top_p": 0.0}, "top_p")]:
        with pytest.raises(ValueError, match=text):
            model.generate(some_ids(1, 1), 1, **wrong)
    with pytest.raises(ValueError, match="at least one token"):
        model.generate(mg.zeros(1, 0, dtype=mg.long), 1)


def test_it_learns():
    model = make()
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-2)
    ids = mg.tensor([[i % 5 for i in range(start, start + 9)] for start in range(5)])
    for _ in range(60):
        loss = model(ids[:, :-1], ids[:, 1:])[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    assert model.generate(mg.tensor([[0, 1, 2]]), 5, temperature=0)[0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_choosing_the_next_token():
    logits = mg.tensor([[0.4, 0.3, 0.2, 0.1]] * 4000).log()

    def shares(**settings):
        drawn = choose(logits, generator=mg.Generator().manual_seed(1), **settings)
        assert drawn.shape == (4000, 1)
        return np.bincount(drawn.numpy().ravel(), minlength=4) / 4000

    np.testing.assert_allclose(shares(), [0.4, 0.3, 0.2, 0.1], atol=0.03)
    np.testing.assert_allclose(shares(top_k=2), [4 / 7, 3 / 7, 0, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.65), [4 / 7, 3 / 7, 0, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.75), [4 / 9, 3 / 9, 2 / 9, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=1.0), [0.4, 0.3, 0.2, 0.1], atol=0.03)
    assert shares(top_p=0.01)[0] == 1 and shares(temperature=0)[0] == 1
    np.testing.assert_allclose(shares(temperature=0.5), np.array([16, 9, 4, 1]) / 30, atol=0.03)


def test_of_equally_likely_tokens_no_more_are_kept_than_reach_the_mass():
    """At a tie, a rule by the smallest probability kept would keep all four; exactly p is enough."""
    logits = mg.zeros(1000, 4)
    for top_p, count in [(0.25, 1), (0.3, 2), (0.5, 2), (0.6, 3), (0.75, 3), (1.0, 4)]:
        drawn = choose(logits, top_p=top_p, generator=mg.Generator().manual_seed(1))
        assert len(set(drawn.numpy().ravel().tolist())) == count, top_p


def test_initial_weights():
    """N(0, 0.02²), the projections that end a branch smaller by the root of the number of branches (GPT-2)."""
    mg.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=70, block_size=64, n_layer=8, n_head=2, n_embd=64))
    for name, p in model.named_parameters():
        values = p.detach().numpy()
        if name.endswith(("attention.output.weight", "mlp.contract.weight")):
            assert values.std() == pytest.approx(0.02 / 4, rel=0.05), name
        elif values.ndim == 2:
            assert values.std() == pytest.approx(0.02, rel=0.05), name
        else:
            assert (values == ("norm" in name and name.endswith("weight"))).all(), name
        assert abs(values.mean()) < 0.001 or values.ndim == 1, name
