"""The floor: the matrix products of a training step, one after the other, and nothing between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.configs import Config

VERSION = f"NumPy {np.__version__}"


def trainer(config: Config, weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, np.ndarray], None]:
    B, T, C, H = config.batch, config.context, config.channels, config.heads
    rng = np.random.default_rng(0)

    def product(*shape: int, rows: int, inner: int, columns: int) -> tuple[np.ndarray, ...]:
        """The arrays of z = x @ y: x, y, z, dz, dx, dy."""
        sizes = ((rows, inner), (inner, columns), (rows, columns)) * 2
        x, y, z, dx, dy, dz = (rng.standard_normal((*shape, *size), dtype=np.float32) for size in sizes)
        return x, y, z, dz, dx, dy

    products = []
    for _ in range(config.layers):
        products += [product(rows=B * T, inner=C, columns=C) for _ in range(4)]  # query, key, value, output
        products.append(product(B, H, rows=T, inner=C // H, columns=T))
        products.append(product(B, H, rows=T, inner=T, columns=C // H))
        products.append(product(rows=B * T, inner=C, columns=4 * C))
        products.append(product(rows=B * T, inner=4 * C, columns=C))
    products.append(product(rows=B * T, inner=C, columns=config.vocabulary))

    def step(ids: np.ndarray, targets: np.ndarray) -> None:
        for x, y, z, _, _, _ in products:
            np.matmul(x, y, out=z)
        for x, y, _, dz, dx, dy in reversed(products):
            np.matmul(dz, y.swapaxes(-1, -2), out=dx)
            np.matmul(x.swapaxes(-1, -2), dz, out=dy)

    return step
