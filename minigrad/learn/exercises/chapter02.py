"""What chapter 2 asks for: wiggling, two steps back, a chain, and what goes wrong in them."""

import math

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


def cubic(a, b):
    return lambda x: a * x**3 + b * x**2 + x


wiggle = Exercise(
    "wiggle",
    draw=lambda rng: given(
        f=cubic(*(float(v) for v in rng.uniform(1, 2, 2))),
        x=float(rng.uniform(0.5, 1.5)),
        h=float(rng.uniform(0.1, 0.2)),
    ),
    definition=lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h),
    gradient=False,
    hints=(
        "How far apart are the two places?",
        "The difference of f at x + h and x - h, divided by the distance of these places.",
        "(f(x + h) - f(x - h)) / (2 * h)",
    ),
)
for name, says, hint, wrong in [
    (
        "one side",
        "It is measured on the right side alone.",
        "Both sides: x + h and x - h.",
        lambda f, x, h: (f(x + h) - f(x)) / h,
    ),
    (
        "the left side",
        "It is measured on the left side alone.",
        "Both sides: x + h and x - h.",
        lambda f, x, h: (f(x) - f(x - h)) / h,
    ),
    (
        "divided by h",
        "The places are 2 h apart, and it is divided by h.",
        "/ (2 * h).",
        lambda f, x, h: (f(x + h) - f(x - h)) / h,
    ),
    (
        "a missing bracket",
        "/ 2 * h divides by 2 and multiplies by h.",
        "/ (2 * h), with brackets.",
        lambda f, x, h: (f(x + h) - f(x - h)) / 2 * h,
    ),
    (
        "not divided by the distance",
        "The difference is not divided by how far x was moved.",
        "/ (2 * h).",
        lambda f, x, h: f(x + h) - f(x - h),
    ),
    (
        "sign turned round",
        "The two are subtracted the wrong way round.",
        "f(x + h) - f(x - h).",
        lambda f, x, h: (f(x - h) - f(x + h)) / (2 * h),
    ),
    (
        "added up",
        "The two are added.",
        "Their difference.",
        lambda f, x, h: (f(x + h) + f(x - h)) / (2 * h),
    ),
    (
        "another h",
        "h is not used: a step of its own is taken.",
        "The h that is given.",
        lambda f, x, h: (f(x + 1e-5) - f(x - 1e-5)) / 2e-5,
    ),
]:
    enter(wiggle, name, says, hint, lambda f, x, h=1e-5, w=wrong: w(f, x, h))


def s(x):
    return 1 / (1 + math.exp(-x))


sigmoid = Exercise(
    "sigmoid",
    draw=lambda rng: given(float(rng.uniform(0.4, 1.8) * rng.choice([-1, 1]))),
    definition=s,
    hints=("Its slope can be told from its result.", "dx = dz * z * (1 - z)", "return dz * z * (1 - z)"),
)
for name, says, hint, slope in [
    (
        "of the input",
        "This is x (1 - x): the input, and not the result.",
        "z (1 - z).",
        lambda x: x * (1 - x),
    ),
    (
        "sigmoid of sigmoid",
        "The slope is taken of sigmoid(z): it was applied twice.",
        "z is the sigmoid already.",
        lambda x: s(s(x)) * (1 - s(s(x))),
    ),
    (
        "slope of tanh",
        "This is 1 - z²: the slope of tanh.",
        "z (1 - z).",
        lambda x: 1 - s(x) ** 2,
    ),
    (
        "one factor",
        "This is 1 - z: the factor z is missing.",
        "z (1 - z).",
        lambda x: 1 - s(x),
    ),
    (
        "the other factor",
        "This is dz * z: the factor 1 - z is missing.",
        "z (1 - z).",
        s,
    ),
    (
        "plus in it",
        "This is z (1 + z).",
        "z (1 - z): flat where z is near 1.",
        lambda x: s(x) * (1 + s(x)),
    ),
    (
        "minus exp",
        "This is -z (1 - z): the sign is turned round.",
        "The sigmoid rises everywhere.",
        lambda x: -s(x) * (1 - s(x)),
    ),
    (
        "z squared",
        "This is z²: the inner slope exp(-x) was forgotten.",
        "z (1 - z).",
        lambda x: s(x) ** 2,
    ),
]:
    enter(sigmoid, name, says, hint, lambda x, f=slope: (s(x), lambda dz: dz * f(x)))
enter(
    sigmoid,
    "without dz",
    "The slope is right, and not multiplied by dz.",
    "dz * z * (1 - z).",
    lambda x: (s(x), lambda dz: s(x) * (1 - s(x))),
)
for name, says, hint, forward in [
    (
        "minus forgotten",
        "exp(x) stands there, and should be exp(-x).",
        "1 / (1 + exp(-x)): it rises.",
        lambda x: s(-x),
    ),
    (
        "one forgotten",
        "The 1 under the fraction is missing.",
        "1 / (1 + exp(-x)).",
        lambda x: math.exp(x),
    ),
    (
        "one minus",
        "1 - exp(-x) stands under the fraction.",
        "1 + exp(-x).",
        lambda x: 1 / (1 - math.exp(-x)),
    ),
]:
    enter(sigmoid, name, says, hint, lambda x, f=forward: (f(x), lambda dz: dz))

divide = Exercise(
    "divide",
    draw=lambda rng: given(*(float(v) for v in rng.uniform(1.2, 3, 2) * rng.choice([-1, 1], 2))),
    definition=lambda a, b: a / b,
    paths=("a → z", "b → z"),
    hints=("Both move the result; b the other way.", "da = dz / b, db = -dz * a / b²", "return dz / b, -dz * a / b**2"),
)
for name, says, hint, gradients, *forgets in [
    (
        "the quotient rule forgotten",
        "db is dz / b: as if b stood on top.",
        "-a / b².",
        lambda d, a, b: (d / b, d / b),
    ),
    (
        "minus left out",
        "db has no minus: a larger b makes the result smaller.",
        "-a / b².",
        lambda d, a, b: (d / b, d * a / b**2),
    ),
    (
        "b not squared",
        "db is divided by b, and should be by b².",
        "-a / b².",
        lambda d, a, b: (d / b, -d * a / b),
    ),
    (
        "a forgotten",
        "db lacks its factor a.",
        "-a / b².",
        lambda d, a, b: (d / b, -d / b**2),
    ),
    (
        "b gets nothing",
        "db is 0.",
        "b moves the result as well.",
        lambda d, a, b: (d / b, 0.0),
        "b → z",
    ),
    (
        "da multiplied",
        "da is dz * b, and should be divided.",
        "If a rises by 1, a / b rises by 1 / b.",
        lambda d, a, b: (d * b, -d * a / b**2),
    ),
    (
        "the backward of multiplying",
        "These are the slopes of a * b.",
        "1 / b, and -a / b².",
        lambda d, a, b: (d * b, d * a),
    ),
    (
        "da passed on",
        "da is dz as it is.",
        "1 / b.",
        lambda d, a, b: (d, -d * a / b**2),
    ),
    (
        "exchanged gradients",
        "The two gradients are exchanged.",
        "a first.",
        lambda d, a, b: (-d * a / b**2, d / b),
    ),
    (
        "no dz in them",
        "dz does not occur.",
        "Every slope is multiplied by dz.",
        lambda d, a, b: (1 / b, -a / b**2),
    ),
]:
    enter(divide, name, says, hint, lambda a, b, g=gradients: (a / b, lambda dz: g(dz, a, b)), *forgets)
enter(divide, "upside down", "The result is b / a.", "a / b.", lambda a, b: (b / a, lambda dz: (dz, dz)))

# A chain: three different steps, so that their order matters.
STEPS = (
    lambda x: (x * x, lambda dz: dz * 2 * x),
    lambda x: (math.sin(x), lambda dz: dz * math.cos(x)),
    lambda x: (math.exp(x / 2), lambda dz: dz * math.exp(x / 2) / 2),
)


def values_of(x, steps):
    """The value before each step, and the last."""
    found = [x]
    for step in steps:
        found.append(step(found[-1])[0])
    return found


chain = Exercise(
    "chain",
    draw=lambda rng: given(float(rng.uniform(0.3, 0.9)), steps=[STEPS[i] for i in rng.permutation(3)]),
    definition=lambda x, steps: values_of(x, steps)[-1],
    hints=(
        "Which step's backward knows the first dz?",
        "Keep each step's backward; go through them from the last, each gets what the one behind it gave.",
        "for back in reversed(backwards): dz = back(dz)",
    ),
)


def chained(back):
    def wrong(x, steps):
        values = values_of(x, steps)
        backs = [step(v)[1] for step, v in zip(steps, values, strict=False)]
        return values[-1], lambda dz: back(dz, backs, steps, values)

    return wrong


def through(dz, backs):
    for back in backs:
        dz = back(dz)
    return dz


for name, says, hint, back in [
    (
        "slopes added",
        "The slopes of the steps are added, and should be multiplied.",
        "What one gives is the next one's dz.",
        lambda d, b, s, v: sum(f(d) for f in b),
    ),
    (
        "only the last step",
        "Only the last step's backward is used.",
        "Go on through all of them.",
        lambda d, b, s, v: b[-1](d),
    ),
    (
        "only the first step",
        "Only the first step's backward is used.",
        "All of them, last to first.",
        lambda d, b, s, v: b[0](d),
    ),
    (
        "all slopes at x",
        "Each slope is taken at x, and not at what came into its step.",
        "Keep the backward that the forward gave.",
        lambda d, b, s, v: through(d, [f(v[0])[1] for f in s]),
    ),
    (
        "all slopes at the result",
        "Each slope is taken at the last result.",
        "Keep the backward that the forward gave.",
        lambda d, b, s, v: through(d, [f(v[-1])[1] for f in s]),
    ),
    (
        "one step left out",
        "The first step is left out on the way back.",
        "All of them.",
        lambda d, b, s, v: through(d, b[1:]),
    ),
    (
        "dz passed through",
        "dz comes out as it went in.",
        "Through each step's backward.",
        lambda d, b, s, v: d,
    ),
    (
        "slopes one place off",
        "Each step's slope is taken at its result, and not at its input.",
        "Keep the backward that the forward gave.",
        lambda d, b, s, v: through(d, [f(w)[1] for f, w in zip(s, v[1:], strict=True)]),
    ),
]:
    enter(chain, name, says, hint, chained(back))
enter(
    chain,
    "steps backwards",
    "The steps are applied last to first.",
    "Forward: first to last.",
    lambda x, steps: (values_of(x, steps[::-1])[-1], lambda dz: dz),
)

EXERCISES = (wiggle, sigmoid, divide, chain)
