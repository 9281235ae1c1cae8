"""Complex numbers as pairs of floats: rotary positions as Llama's program writes them."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg


def test_rotary_positions_with_their_gradient():
    rng = np.random.default_rng(0)
    x, angles = rng.normal(size=(2, 3, 1, 4)), rng.normal(size=(5, 2))
    freqs = mg.polar(mg.ones_like(mg.tensor(angles)), mg.tensor(angles))
    assert freqs.shape == (5, 2) and freqs.ndim == 2 and len(freqs) == 5 and mg.is_complex(freqs)
    freqs = freqs[1:4].to("cpu").view(1, 3, 1, 2)
    leaf = mg.tensor(x, requires_grad=True)
    turned = mg.view_as_complex(leaf.reshape(*x.shape[:-1], -1, 2))
    out = mg.view_as_real(turned * freqs).flatten(3)
    expected = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles[1:4])[None, :, None]
    np.testing.assert_allclose(out.detach().numpy()[..., 0::2], expected.real)
    np.testing.assert_allclose(out.detach().numpy()[..., 1::2], expected.imag)
    weights = rng.normal(size=x.shape)
    (out * mg.tensor(weights)).sum().backward()
    back = (weights[..., 0::2] + 1j * weights[..., 1::2]) * np.exp(-1j * angles[1:4])[None, :, None]
    np.testing.assert_allclose(leaf.grad.numpy()[..., 0::2], back.real)


def test_shapes_and_parts():
    z = mg.view_as_complex(mg.tensor([[[3.0, 4.0], [0.0, 1.0]]]))
    assert z.abs().tolist() == [[5, 1]] and z.real.tolist() == [[3, 0]] and z.imag.tolist() == [[4, 1]]
    assert z.conj().imag.tolist() == [[-4, -1]] and (2 * z).real.tolist() == [[6, 0]]
    assert (
        z.unsqueeze(-1).shape == (1, 2, 1) and z.unsqueeze(0).shape == (1, 1, 2) and z.transpose(0, -1).shape == (2, 1)
    )
    assert (
        z.expand(4, 2).shape == (4, 2) and z[..., 0].shape == (1,) and z[0, 1].abs() == 1 and z.size(1) == z.dim() == 2
    )
    for wrong in (mg.ones(3), mg.ones(2, dtype=mg.int64), mg.tensor(1.0)):
        with pytest.raises(RuntimeError, match=r"floats \(\.\.\., 2\)"):
            mg.view_as_complex(wrong)
    with pytest.raises(ValueError, match="only device"):
        z.to("cuda")
