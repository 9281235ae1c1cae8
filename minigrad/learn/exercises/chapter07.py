"""What chapter 7 asks for: SGD, momentum, Adam, a batch in pieces, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake()(wrong)


sgd = Exercise(
    "sgd",
    draw=lambda rng: given(*rng.normal(size=(2, 4)), lr=float(rng.uniform(0.1, 0.5))),
    definition=lambda p, g, lr: np.array([a - lr * b for a, b in zip(p, g, strict=True)]),
    gradient=False,
    hints=("The gradient points uphill.", "p - lr * g", "new = p - lr * g"),
)
for name, says, hint, wrong in [
    (
        "uphill",
        "The gradient is added: the step goes uphill.",
        "Against the slope: minus.",
        lambda p, g, lr: p + lr * g,
    ),
    (
        "learning rate forgotten",
        "The whole gradient is subtracted, without lr.",
        "p - lr * g.",
        lambda p, g, lr: p - g,
    ),
    (
        "divided by the learning rate",
        "The gradient is divided by lr.",
        "Multiply: a small lr is a small step.",
        lambda p, g, lr: p - g / lr,
    ),
    (
        "only the step",
        "The step is returned, and not the new weights.",
        "p minus the step.",
        lambda p, g, lr: -lr * g,
    ),
    (
        "weights multiplied",
        "The weights are multiplied by the step.",
        "Subtract: p - lr * g.",
        lambda p, g, lr: p * (1 - lr * g),
    ),
    (
        "sign of the gradient",
        "Only the sign of the gradient is used.",
        "p - lr * g: steep slopes take larger steps.",
        lambda p, g, lr: p - lr * np.sign(g),
    ),
    (
        "normalised",
        "The gradient is brought to length 1 first.",
        "p - lr * g as it is.",
        lambda p, g, lr: p - lr * g / np.sqrt((g * g).sum()),
    ),
    (
        "nothing moved",
        "The weights come back as they were.",
        "p - lr * g.",
        lambda p, g, lr: p,
    ),
]:
    enter(sgd, name, says, hint, lambda p, g, lr, w=wrong: w(p, g, lr))

momentum_step = Exercise(
    "momentum_step",
    draw=lambda rng: given(*rng.normal(size=(3, 4)), lr=float(rng.uniform(0.1, 0.3)), momentum=0.8),
    definition=lambda p, g, velocity, lr, momentum: (p - lr * (momentum * velocity + g), momentum * velocity + g),
    gradient=False,
    hints=(
        "First the velocity, then the weights with the new velocity.",
        "velocity = momentum * velocity + g; p = p - lr * velocity.",
        "velocity = momentum * velocity + g; return p - lr * velocity, velocity",
    ),
)


def moved(velocity_of):
    def wrong(p, g, velocity, lr, momentum):
        v = velocity_of(g, velocity, lr, momentum)
        return p - lr * v, v

    return wrong


for name, says, hint, wrong in [
    (
        "a mean for the sum",
        "The velocity is a mean: the gradient is multiplied by 1 - momentum.",
        "Here the gradient is added as it is.",
        moved(lambda g, v, lr, b: b * v + (1 - b) * g),
    ),
    (
        "momentum on the gradient",
        "The gradient is multiplied by momentum, and not the velocity.",
        "The old velocity fades: momentum * velocity.",
        moved(lambda g, v, lr, b: v + b * g),
    ),
    (
        "nothing fades",
        "The old velocity is kept whole.",
        "momentum * velocity.",
        moved(lambda g, v, lr, b: v + g),
    ),
    (
        "no velocity",
        "The velocity is the gradient alone: that is SGD.",
        "momentum * velocity + g.",
        moved(lambda g, v, lr, b: g),
    ),
    (
        "velocity without the new gradient",
        "The new gradient is not added to the velocity.",
        "momentum * velocity + g.",
        moved(lambda g, v, lr, b: b * v),
    ),
    (
        "minus in the velocity",
        "The gradient is subtracted in the velocity.",
        "It is added there, and lr * velocity subtracted from p.",
        moved(lambda g, v, lr, b: b * v - g),
    ),
    (
        "weights moved by the old velocity",
        "The weights move by the old velocity.",
        "First the velocity, then the weights.",
        lambda p, g, v, lr, b: (p - lr * v, b * v + g),
    ),
    (
        "weights moved by the gradient",
        "The weights move by the gradient, and the velocity is kept for nothing.",
        "p - lr * velocity.",
        lambda p, g, v, lr, b: (p - lr * g, b * v + g),
    ),
    (
        "lr in the velocity",
        "lr is in the velocity and again in the step.",
        "velocity = momentum * velocity + g.",
        moved(lambda g, v, lr, b: b * v + lr * g),
    ),
    (
        "lr moved into the velocity",
        "lr stands in the velocity, and not in the step: another form.",
        "Here: velocity = momentum * velocity + g, p - lr * velocity.",
        lambda p, g, v, lr, b: (p - (b * v + lr * g), b * v + lr * g),
    ),
    (
        "uphill with momentum",
        "The velocity is added: the step goes uphill.",
        "p - lr * velocity.",
        lambda p, g, v, lr, b: (p + lr * (b * v + g), b * v + g),
    ),
    (
        "Nesterov",
        "The gradient is added once more to the step: that is Nesterov's form.",
        "p - lr * velocity.",
        lambda p, g, v, lr, b: (p - lr * (g + b * (b * v + g)), b * v + g),
    ),
    (
        "velocity not returned new",
        "The old velocity is returned: nothing is remembered.",
        "Return the new one.",
        lambda p, g, v, lr, b: (p - lr * (b * v + g), v),
    ),
]:

    def named(p, g, velocity, lr, momentum, wrong=wrong):
        return wrong(p, g, velocity, lr, momentum)

    enter(momentum_step, name, says, hint, named)


def adam(p, g, m, v, t, lr, b1, b2, eps, *, m_of=None, v_of=None, step=None):
    m = m_of(m, g, b1) if m_of else b1 * m + (1 - b1) * g
    v = v_of(v, g, b2) if v_of else b2 * v + (1 - b2) * g * g
    mean, square = m / (1 - b1**t), v / (1 - b2**t)
    move = step(mean, square, m, v, t, b1, b2, eps, g) if step else mean / (np.sqrt(square) + eps)
    return p - lr * move, m, v


adam_step = Exercise(
    "adam_step",
    draw=lambda rng: given(
        *rng.normal(size=(3, 4)), rng.uniform(0.5, 1.5, 4), t=int(rng.integers(2, 5)), lr=0.1, b1=0.8, b2=0.9, eps=0.05
    ),
    definition=adam,
    gradient=False,
    hints=(
        "Two fading means; both are too small at first; eps stands outside the root.",
        "p - lr * (m / (1 - b1ᵗ)) / (√(v / (1 - b2ᵗ)) + eps).",
        "p = p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)",
    ),
)
for name, says, hint, part in [
    (
        "no correction",
        "The correction of the beginning is missing.",
        "m / (1 - b1ᵗ), v / (1 - b2ᵗ).",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: m / (np.sqrt(v) + e)},
    ),
    (
        "only m corrected",
        "v is not corrected.",
        "v / (1 - b2ᵗ).",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: a / (np.sqrt(v) + e)},
    ),
    (
        "only v corrected",
        "m is not corrected.",
        "m / (1 - b1ᵗ).",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: m / (np.sqrt(s) + e)},
    ),
    (
        "steps counted from 0",
        "The steps are counted one too low: t - 1.",
        "t counts from 1, as it is given.",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: m / (1 - b1 ** (t - 1)) / (np.sqrt(v / (1 - b2 ** (t - 1))) + e)},
    ),
    (
        "steps counted one too far",
        "The steps are counted one too far: t + 1.",
        "t counts from 1, as it is given.",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1))) + e)},
    ),
    (
        "correction without the power",
        "The correction is 1 - b, without the power t.",
        "1 - b1**t.",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: m / (1 - b1) / (np.sqrt(v / (1 - b2)) + e)},
    ),
    (
        "eps inside the root",
        "eps stands inside the root.",
        "√(...) + eps.",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: a / np.sqrt(s + e)},
    ),
    (
        "root of v forgotten",
        "It is divided by v: the root is missing.",
        "np.sqrt.",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: a / (s + e)},
    ),
    (
        "eps forgotten",
        "eps is missing.",
        "√(...) + eps.",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: a / np.sqrt(s)},
    ),
    (
        "gradient for its mean",
        "The gradient itself is divided, and not its mean m.",
        "m / (1 - b1ᵗ).",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: g / (np.sqrt(s) + e)},
    ),
    (
        "not divided by the size",
        "It is not divided by the usual size.",
        "/ (√(v / (1 - b2ᵗ)) + eps).",
        {"step": lambda a, s, m, v, t, b1, b2, e, g: a},
    ),
    (
        "square forgotten",
        "v is a mean of g, and should be of g².",
        "(1 - b2) * g * g.",
        {"v_of": lambda v, g, b: b * v + (1 - b) * g},
    ),
    (
        "m a sum",
        "m is a sum: g is not multiplied by 1 - b1.",
        "b1 m + (1 - b1) g.",
        {"m_of": lambda m, g, b: b * m + g},
    ),
    (
        "v a sum",
        "v is a sum: g² is not multiplied by 1 - b2.",
        "b2 v + (1 - b2) g².",
        {"v_of": lambda v, g, b: b * v + g * g},
    ),
    (
        "weights of m exchanged",
        "b1 and 1 - b1 are exchanged in m.",
        "b1 m + (1 - b1) g.",
        {"m_of": lambda m, g, b: (1 - b) * m + b * g},
    ),
    (
        "weights of v exchanged",
        "b2 and 1 - b2 are exchanged in v.",
        "b2 v + (1 - b2) g².",
        {"v_of": lambda v, g, b: (1 - b) * v + b * g * g},
    ),
    (
        "size of m for g",
        "v is made of m, and should be of g.",
        "(1 - b2) * g * g.",
        None,
    ),
]:
    if part is None:

        def named(p, g, m, v, t, lr, b1, b2, eps):
            new = b1 * m + (1 - b1) * g
            return adam(p, g, m, v, t, lr, b1, b2, eps, v_of=lambda v, g, b: b * v + (1 - b) * new * new)

    else:

        def named(p, g, m, v, t, lr, b1, b2, eps, part=part):
            return adam(p, g, m, v, t, lr, b1, b2, eps, **part)

    enter(adam_step, name, says, hint, named)
enter(
    adam_step,
    "corrected means kept",
    "The corrected means are returned: the next step corrects them once more.",
    "Keep m and v as they are; correct for the step alone.",
    lambda p, g, m, v, t, lr, b1, b2, eps: (lambda q, a, s: (q, a / (1 - b1**t), s / (1 - b2**t)))(
        *adam(p, g, m, v, t, lr, b1, b2, eps)
    ),
)

accumulated = Exercise(
    "accumulated",
    draw=lambda rng: given(rng.normal(size=(3, 4)), sizes=rng.permutation([2, 5, 9])),
    definition=lambda gradients, sizes: sum(n * g for n, g in zip(sizes, gradients, strict=True)) / sum(sizes),
    gradient=False,
    hints=(
        "Each piece's gradient is a mean over its own examples.",
        "Weight each by its number of examples, divide by all of them.",
        "(gradients * sizes[:, None]).sum(0) / sizes.sum()",
    ),
)
for name, says, hint, wrong in [
    (
        "added up",
        "The gradients of the pieces are added up: too large by their number.",
        "A mean over all examples.",
        lambda g, n: g.sum(0),
    ),
    (
        "mean of the pieces",
        "The mean over the pieces is taken: small pieces count as much as large ones.",
        "Each counts by its number of examples.",
        lambda g, n: g.mean(0),
    ),
    (
        "not divided at the end",
        "They are weighted by their sizes, and not divided by the sum of these.",
        "/ sizes.sum().",
        lambda g, n: (g * n[:, None]).sum(0),
    ),
    (
        "divided by the sizes",
        "Each is divided by its number of examples: it is a mean already.",
        "Multiply by the size, then divide by all.",
        lambda g, n: (g / n[:, None]).sum(0),
    ),
    (
        "divided by the pieces at the end",
        "They are weighted by their sizes, and divided by the number of pieces.",
        "/ sizes.sum().",
        lambda g, n: (g * n[:, None]).mean(0),
    ),
    (
        "the last piece alone",
        "Only the last piece counts: the others were set to zero.",
        "Add up before the step.",
        lambda g, n: g[-1],
    ),
    (
        "the first piece alone",
        "Only the first piece counts.",
        "Add up all of them.",
        lambda g, n: g[0],
    ),
    (
        "divided by all examples",
        "The sum is divided by the number of examples, without weighting each.",
        "Multiply each by its size first.",
        lambda g, n: g.sum(0) / n.sum(),
    ),
]:
    enter(accumulated, name, says, hint, lambda gradients, sizes, w=wrong: w(gradients, sizes))

EXERCISES = (sgd, momentum_step, adam_step, accumulated)
