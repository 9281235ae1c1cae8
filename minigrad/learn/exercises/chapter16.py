"""What chapter 16 asks for: the slope of a slope, Newton's step, curvature along a direction, and what goes wrong."""

# ruff: noqa: E501 (the catalogue is a table)

import numpy as np

from minigrad.learn.exercise import Exercise, given

slope_of_tanh = Exercise(
    "slope_of_tanh",
    draw=lambda rng: given(rng.uniform(0.3, 1.2, size=(2, 3)) * rng.choice([-1, 1], size=(2, 3))),
    definition=lambda x: 1 - np.tanh(x) ** 2,
    paths=("x → tanh → square → z",),
    hints=(
        "Two slopes on one path: of the square, and of tanh.",
        "dx = dz * -2 t (1 - t²)",
        "-2 * t * (1 - t * t) * dz",
    ),
)
for name, says, hint, slope in [
    ("tanh's slope again", "This is 1 - t², the slope of tanh and not the slope of that slope.", "Go back through the square as well.",
     lambda t, x: 1 - t * t),
    ("inner slope forgotten", "This is -2 t: how the square moves with t, but not how t moves with x.", "Times 1 - t².",
     lambda t, x: -2 * t),
    ("minus forgotten", "The sign is lost: the square is taken *off* 1.", "-2 t (1 - t²).", lambda t, x: 2 * t * (1 - t * t)),
    ("two forgotten", "The slope of a square is taken for t; it is 2 t.", "-2 t (1 - t²).", lambda t, x: -t * (1 - t * t)),
    ("of the input", "x is used where t = tanh(x) belongs.", "t = np.tanh(x), then -2 t (1 - t²).", lambda t, x: -2 * x * (1 - x * x)),
    ("input in the square", "The slope of the square is taken at x; what is squared is t.", "-2 t, not -2 x.",
     lambda t, x: -2 * x * (1 - t * t)),
    ("slope of the sigmoid", "t (1 - t) is the sigmoid's slope; tanh's is 1 - t².", "-2 t (1 - t²).", lambda t, x: -2 * t * t * (1 - t)),
    ("squared slope", "1 - t² is multiplied in twice.", "Once: -2 t (1 - t²).", lambda t, x: -2 * t * (1 - t * t) ** 2),
]:  # fmt: skip

    def wrong(x, slope=slope):
        t = np.tanh(x)
        return 1 - t * t, lambda dz: dz * slope(t, x)

    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    slope_of_tanh.mistake()(wrong)


@slope_of_tanh.mistake()
def dz_forgotten(x):
    """dz is forgotten: this is the slope alone.

    Every backward multiplies by the dz it is given.
    """
    t = np.tanh(x)
    return 1 - t * t, lambda dz: -2 * t * (1 - t * t)


newton = Exercise(
    "newton",
    draw=lambda rng: given(
        x=rng.normal(size=(3,)), slope=rng.uniform(0.5, 2, 3) * rng.choice([-1, 1], 3), curvature=rng.uniform(1.5, 3, 3)
    ),
    definition=lambda x, slope, curvature: x - slope / curvature,
    gradient=False,
    hints=(
        "A large curvature means that the slope is soon 0.",
        "x - slope / curvature",
        "return x - slope / curvature",
    ),
)
for name, says, hint, step in [
    ("uphill", "The step is added: it goes up.", "x - slope / curvature.", lambda x, s, c: x + s / c),
    ("multiplied", "The slope is multiplied by the curvature.", "Divide: a sharp bend asks for a short step.", lambda x, s, c: x - s * c),
    ("upside down", "Curvature is divided by slope.", "slope / curvature.", lambda x, s, c: x - c / s),
    ("descent", "The curvature is not used: this is gradient descent with a learning rate of 1.", "Divide by it.", lambda x, s, c: x - s),
    ("step alone", "This is the step alone.", "x minus it.", lambda x, s, c: s / c),
    ("minus the step", "This is the step alone, downhill.", "Start from x.", lambda x, s, c: -s / c),
    ("x is scaled", "x is divided as well: a bracket too wide.", "x - slope / curvature.", lambda x, s, c: (x - s) / c),
    ("root of the curvature", "Divided by the root of the curvature, as Adam does with its second moment.", "By the curvature itself.",
     lambda x, s, c: x - s / np.sqrt(c)),
    ("sign alone", "Only the sign of the slope is used.", "slope / curvature.", lambda x, s, c: x - np.sign(s) / c),
]:  # fmt: skip

    def wrong_step(x, slope, curvature, step=step):
        return step(x, slope, curvature)

    wrong_step.__name__, wrong_step.__doc__ = name, f"{says}\n\n{hint}"
    newton.mistake()(wrong_step)


def gradient_of(weights):
    return lambda x: weights @ x + x**3


along = Exercise(
    "along",
    draw=lambda rng: given(
        gradient=gradient_of(rng.normal(size=(3, 3))), x=rng.uniform(0.5, 1.5, 3), v=rng.normal(size=3), h=float(rng.uniform(0.1, 0.2))
    ),
    definition=lambda gradient, x, v, h: (gradient(x + h * v) - gradient(x - h * v)) / (2 * h),
    gradient=False,
    hints=("It is chapter 2's wiggle, of a gradient.", "Move by h v to both sides.", "(gradient(x + h * v) - gradient(x - h * v)) / (2 * h)"),
)  # fmt: skip
for name, says, hint, change in [
    ("one side", "It is measured on one side alone.", "x + h v and x - h v.", lambda g, x, v, h: (g(x + h * v) - g(x)) / h),
    ("divided by h", "The places are 2 h v apart, and it is divided by h.", "/ (2 * h).", lambda g, x, v, h: (g(x + h * v) - g(x - h * v)) / h),
    ("a missing bracket", "/ 2 * h divides by 2 and multiplies by h.", "/ (2 * h), with brackets.",
     lambda g, x, v, h: (g(x + h * v) - g(x - h * v)) / 2 * h),
    ("no direction", "Every number is moved by h: the direction v is not used.", "x + h * v.", lambda g, x, v, h: (g(x + h) - g(x - h)) / (2 * h)),
    ("times v after", "v is multiplied in after wiggling all numbers alike: that is another product.", "Move along h * v.",
     lambda g, x, v, h: (g(x + h) - g(x - h)) / (2 * h) * v),
    ("not divided", "The difference is not divided by how far x was moved.", "/ (2 * h).", lambda g, x, v, h: g(x + h * v) - g(x - h * v)),
    ("turned round", "The two are subtracted the wrong way round.", "x + h v first.", lambda g, x, v, h: (g(x - h * v) - g(x + h * v)) / (2 * h)),
    ("divided by v", "It is divided by v as well, as if there were one number.", "/ (2 * h) alone.",
     lambda g, x, v, h: (g(x + h * v) - g(x - h * v)) / (2 * h * v)),
    ("at v", "The gradient is taken at h v, and not at x.", "x + h * v.", lambda g, x, v, h: (g(h * v) - g(-h * v)) / (2 * h)),
    ("one number", "A single number is returned, v H v: the curvature, not the change of each slope.", "No sum with v at the end.",
     lambda g, x, v, h: v @ (g(x + h * v) - g(x - h * v)) / (2 * h)),
]:  # fmt: skip

    def wrong_change(gradient, x, v, h=1e-5, change=change):
        return change(gradient, x, v, h)

    wrong_change.__name__, wrong_change.__doc__ = name, f"{says}\n\n{hint}"
    along.mistake()(wrong_change)

EXERCISES = (slope_of_tanh, newton, along)
