"""Right solutions of chapter 16, written in other ways."""

import numpy as np


def slope_cosh(x):
    c = np.cosh(x)
    return c**-2, lambda dz: (-2 * np.sinh(x) / c**3 * dz,)


def slope_result(x):
    t = np.tanh(x)
    z = (1 - t) * (1 + t)
    return z, lambda dz: -2 * dz * z * t


def newton_part(x, slope, curvature):
    step = np.divide(slope, curvature)
    return np.subtract(x, step)


def newton_sum(x, slope, curvature):
    return (x * curvature - slope) / curvature


def along_halves(gradient, x, v, h=1e-5):
    middle = gradient(x)
    return ((gradient(x + h * v) - middle) + (middle - gradient(x - h * v))) / h / 2


def along_distance(gradient, x, v, h=1e-5):
    up, down = (gradient(x + side * h * np.asarray(v)) for side in (1, -1))
    return 0.5 * (up - down) / h


RIGHT = {
    "slope_of_tanh": [slope_cosh, slope_result],
    "newton": [newton_part, newton_sum],
    "along": [along_halves, along_distance],
}
