"""What chapter 5 asks for: softmax, log-softmax, cross-entropy, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def scores(rng):
    """Rows of large scores."""
    return 1000 + 2 * rng.normal(size=(rng.integers(3, 5), rng.integers(5, 7)))


def shares(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


softmax = Exercise(
    "softmax",
    draw=lambda rng: given(scores(rng)),
    definition=shares,
    paths=("x → exp → z", "x → exp → sum → z"),
    hints=(
        "There are two paths from a score to the shares: its own exp, and the sum that all shares are divided by.",
        "For each row, dx = z * (dz - s), and s is one number per row: the sum of dz * z.",
        "return z * (dz - (dz * z).sum(-1, keepdims=True))",
    ),
)


@softmax.mistake()
def exp_overflows(x):
    """exp is taken of the scores as they are: a score of 1000 becomes inf, and inf / inf is nan.

    Only differences of scores count. Subtract the largest of each row before exp.
    """
    e = np.exp(x)
    z = e / e.sum(-1, keepdims=True)
    return z, lambda dz: z * (dz - (dz * z).sum(-1, keepdims=True))


@softmax.mistake()
def shares_of_the_columns(x):
    """The shares add up to 1 down the columns: the sum runs over the wrong axis.

    The classes are the last axis: sum(-1, keepdims=True).
    """
    z = shares(x, 0)
    return z, lambda dz: z * (dz - (dz * z).sum(0, keepdims=True))


@softmax.mistake()
def shares_of_everything(x):
    """All numbers of the batch share one sum: the rows do not add up to 1 each.

    A sum without an axis adds up everything. Each row has its own: sum(-1, keepdims=True).
    """
    e = np.exp(x - x.max())
    z = e / e.sum()
    return z, lambda dz: z * (dz - (dz * z).sum())


@softmax.mistake(forgets="x → exp → sum → z")
def only_the_diagonal(x):
    """This is z * (1 - z): the diagonal alone, the effect of each score on its own share.

    Raise one score, and what happens to the other shares? They are divided by the same sum.
    """
    z = shares(x)
    return z, lambda dz: dz * z * (1 - z)


@softmax.mistake(forgets="x → exp → sum → z")
def the_sum_held_fixed(x):
    """This is dz * z, as if the sum that all shares are divided by did not move.

    The sum contains the score as well: there is a second path, through it.
    """
    z = shares(x)
    return z, lambda dz: dz * z


@softmax.mistake()
def sum_of_dz_without_the_shares(x):
    """The sum that is subtracted adds up dz, and not dz * z.

    What comes through the sum is weighted by the shares: the row's average of dz.
    """
    z = shares(x)
    return z, lambda dz: z * (dz - dz.sum(-1, keepdims=True))


@softmax.mistake()
def mean_for_sum(x):
    """The mean of dz * z is subtracted, and not its sum.

    The shares in dz * z are a weighting already, they add up to 1: no further division.
    """
    z = shares(x)
    return z, lambda dz: z * (dz - (dz * z).mean(-1, keepdims=True))


@softmax.mistake()
def backward_sums_the_columns(x):
    """The forward is right, and the sum in backward runs down the columns.

    It belongs to a row, as in the forward: sum(-1, keepdims=True).
    """
    z = shares(x)
    return z, lambda dz: z * (dz - (dz * z).sum(0, keepdims=True))


@softmax.mistake()
def backward_sums_everything(x):
    """The sum in backward adds up the whole batch: rows that know nothing of each other are mixed.

    Each row has its own sum: sum(-1, keepdims=True).
    """
    z = shares(x)
    return z, lambda dz: z * (dz - (dz * z).sum())


@softmax.mistake()
def outer_z_forgotten(x):
    """dz minus the row's average is returned, without the share in front.

    A score with a tiny share can move little: multiply by z.
    """
    z = shares(x)
    return z, lambda dz: dz - (dz * z).sum(-1, keepdims=True)


@softmax.mistake()
def dz_forgotten(x):
    """The result does not depend on dz: it is the slope z * (1 - z) alone.

    backward is given dz, the gradient of the result: every slope is multiplied by it.
    """
    z = shares(x)
    return z, lambda dz: z * (1 - z)


@softmax.mistake()
def sign_of_the_sum(x):
    """The sum is added, and should be subtracted.

    Where one share grows, the others shrink: the path through the sum has a minus.
    """
    z = shares(x)
    return z, lambda dz: z * (dz + (dz * z).sum(-1, keepdims=True))


@softmax.mistake()
def z_on_the_first_term_alone(x):
    """This is dz * z - sum(dz * z): the z in front multiplies the first term alone.

    It multiplies the whole bracket: z * (dz - sum(dz * z)).
    """
    z = shares(x)
    return z, lambda dz: dz * z - (dz * z).sum(-1, keepdims=True)


def far_apart(rng):
    """Rows of scores; those of the first are so far apart that shares are rounded to 0."""
    x = scores(rng)
    x[0] = 1000 - 900 * rng.permutation(x.shape[1])
    return x


log_softmax = Exercise(
    "log_softmax",
    draw=lambda rng: given(far_apart(rng)),
    definition=lambda x: (
        (x - x.max(-1, keepdims=True)) - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
    ),
    paths=("x → z", "x → exp → sum → log → z"),
    hints=(
        "Each score reaches its own z directly, and every z of its row through the log of the sum.",
        "dx = dz - softmax(x) * s, and s is the sum of dz over the row.",
        "return dz - np.exp(z) * dz.sum(-1, keepdims=True)",
    ),
)


@log_softmax.mistake()
def log_of_a_share_that_is_zero(x):
    """This is log(softmax(x)) in two steps: a tiny share is rounded to 0, and its log is minus infinity.

    Write the log into the formula: it undoes the exp. z = x - log(sum(exp(x))), with the largest score subtracted.
    """
    z = np.log(shares(x))
    return z, lambda dz: dz - np.exp(z) * dz.sum(-1, keepdims=True)


@log_softmax.mistake()
def exp_of_large_scores(x):
    """exp is taken of the scores as they are, and overflows: inf.

    Subtract the largest score of each row first.
    """
    z = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return z, lambda dz: dz - np.exp(z) * dz.sum(-1, keepdims=True)


@log_softmax.mistake()
def the_largest_never_comes_back(x):
    """The largest score is subtracted inside the log alone: z is off by it.

    What is subtracted in one place has to be subtracted, or added back, in the other.
    """
    z = x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
    return z, lambda dz: dz


@log_softmax.mistake()
def log_of_the_wrong_axis(x):
    """The sum runs down the columns: the wrong axis.

    The classes are the last axis: sum(-1, keepdims=True).
    """
    shifted = x - x.max(0, keepdims=True)
    z = shifted - np.log(np.exp(shifted).sum(0, keepdims=True))
    return z, lambda dz: dz


@log_softmax.mistake()
def softmax_without_the_log(x):
    """The result is the softmax: the log is missing.

    z = log(softmax(x)): numbers below 0, whose exp adds up to 1.
    """
    z = shares(x)
    return z, lambda dz: z * (dz - (dz * z).sum(-1, keepdims=True))


def log_shares(x):
    return log_softmax.definition(x)


@log_softmax.mistake()
def the_gradient_of_softmax(x):
    """This is the backward of softmax, for a forward that has a log behind it.

    Take the slopes of x - log(sum(exp(x))): the first term has slope 1, the second has the softmax.
    """
    p = shares(x)
    return log_shares(x), lambda dz: p * (dz - (dz * p).sum(-1, keepdims=True))


@log_softmax.mistake()
def one_minus_the_share(x):
    """This is dz * (1 - softmax(x)): each score on its own z alone.

    Every score moves every z of its row, through the sum: take the sum of dz over the row, then weight it.
    """
    p = shares(x)
    return log_shares(x), lambda dz: dz * (1 - p)


@log_softmax.mistake(forgets="x → exp → sum → log → z")
def only_the_direct_path(x):
    """dz is passed on as it is: the direct path alone.

    The log of the sum contains every score of the row. What flows back through it?
    """
    return log_shares(x), lambda dz: dz


@log_softmax.mistake(forgets="x → z")
def only_the_path_through_the_sum(x):
    """Only what comes through the sum is returned: the direct path, with slope 1, is missing.

    z = x - log(sum(exp(x))) begins with x: dz itself arrives there.
    """
    p = shares(x)
    return log_shares(x), lambda dz: -p * dz.sum(-1, keepdims=True)


@log_softmax.mistake()
def plus_for_minus(x):
    """The two paths are added, and the second has a minus.

    The log of the sum is subtracted in the forward, so what flows back through it is subtracted too.
    """
    p = shares(x)
    return log_shares(x), lambda dz: dz + p * dz.sum(-1, keepdims=True)


@log_softmax.mistake()
def mean_of_dz_for_its_sum(x):
    """The mean of dz is used where its sum belongs.

    Every z of the row subtracts the same log: its gradients add up.
    """
    p = shares(x)
    return log_shares(x), lambda dz: dz - p * dz.mean(-1, keepdims=True)


@log_softmax.mistake()
def dz_summed_down_the_columns(x):
    """dz is summed down the columns, and belongs to a row.

    sum(-1, keepdims=True), as in the forward.
    """
    p = shares(x)
    return log_shares(x), lambda dz: dz - p * dz.sum(0, keepdims=True)


@log_softmax.mistake()
def z_for_its_exp(x):
    """z stands where the share belongs: the log of the shares, and not the shares.

    The slope of log(sum(exp(x))) is the softmax, and that is exp(z).
    """
    z = log_shares(x)
    return z, lambda dz: dz - z * dz.sum(-1, keepdims=True)


@log_softmax.mistake()
def the_sum_forgotten(x):
    """Each share is multiplied by its own dz, and not by the sum of the row's dz.

    All z of the row depend on this score through the sum: all their dz arrive here.
    """
    p = shares(x)
    return log_shares(x), lambda dz: dz - p * (dz * p).sum(-1, keepdims=True)


def entropy_draw(rng):
    x = scores(rng)
    return given(x, target=rng.integers(0, x.shape[1], size=len(x)))


def entropy(x, target):
    return -log_shares(x)[np.arange(len(x)), target].mean()


cross_entropy = Exercise(
    "cross_entropy",
    draw=entropy_draw,
    definition=entropy,
    paths=("x → log-softmax → mean → z",),
    hints=(
        "The loss is a mean over rows of one log-share each; its gradient passes the mean, then log-softmax.",
        "dx = dz * (softmax(x) - y) / N: y is 1 at the target, 0 elsewhere, N the number of rows.",
        "dx = softmax; dx[np.arange(N), target] -= 1; return dz * dx / N",
    ),
)


def minus_truth(x, target):
    p = shares(x)
    p[np.arange(len(x)), target] -= 1
    return p


@cross_entropy.mistake()
def a_sum_of_the_rows(x, target):
    """The losses of the rows are summed, and the loss of a batch is their mean.

    With a mean, a batch twice as large has gradients of the same size. Divide by the number of rows.
    """
    return entropy(x, target) * len(x), lambda dz: dz * minus_truth(x, target)


@cross_entropy.mistake()
def minus_forgotten(x, target):
    """The result is negative: the minus in front of the log is missing.

    The log of a share is at most 0. Surprise is minus the log.
    """
    return -entropy(x, target), lambda dz: -dz * minus_truth(x, target) / len(x)


@cross_entropy.mistake()
def scores_without_log_softmax(x, target):
    """The raw scores of the targets are averaged: the log-softmax is missing.

    A score says nothing alone; its share does. Take log-softmax first.
    """
    return -x[np.arange(len(x)), target].mean(), lambda dz: 0 * x


@cross_entropy.mistake()
def shares_without_the_log(x, target):
    """The shares of the targets are averaged: the log is missing.

    The loss is minus the log of the share.
    """
    return -shares(x)[np.arange(len(x)), target].mean(), lambda dz: 0 * x


@cross_entropy.mistake()
def mean_over_the_classes_too(x, target):
    """The mean is taken over rows and classes: the loss is too small by the number of classes.

    One number counts in each row, that of the target. Divide by the number of rows.
    """
    return entropy(x, target) / x.shape[1], lambda dz: dz * minus_truth(x, target) / x.size


@cross_entropy.mistake()
def softmax_twice(x, target):
    """Softmax is applied twice: the log-softmax is given shares, not scores.

    cross_entropy wants raw scores, and does the softmax itself.
    """
    return entropy(shares(x), target), lambda dz: 0 * x


@cross_entropy.mistake()
def rows_summed_as_columns(x, target):
    """log-softmax runs down the columns: the classes are the last axis.

    Each row of scores has shares of its own.
    """
    return -np.log(shares(x, 0))[np.arange(len(x)), target].mean(), lambda dz: 0 * x


@cross_entropy.mistake()
def overflow_in_the_loss(x, target):
    """exp of large scores overflows, and the loss is nan or inf.

    Use your log_softmax: it subtracts the largest score of each row first.
    """
    p = np.exp(x)
    return -np.log(p / p.sum(-1, keepdims=True))[np.arange(len(x)), target].mean(), lambda dz: 0 * x


@cross_entropy.mistake()
def one_over_N_forgotten(x, target):
    """The gradient is share minus truth, without the 1 / N of the mean.

    The loss is a mean over N rows: each row has an N-th of the say.
    """
    return entropy(x, target), lambda dz: dz * minus_truth(x, target)


@cross_entropy.mistake()
def divided_by_rows_and_classes(x, target):
    """The gradient is divided by all numbers, rows times classes.

    The mean in the forward is over rows: N is len(x).
    """
    return entropy(x, target), lambda dz: dz * minus_truth(x, target) / x.size


@cross_entropy.mistake()
def divided_by_the_classes(x, target):
    """The gradient is divided by the number of classes, and not by the number of rows.

    The mean in the forward is over rows: N is len(x).
    """
    return entropy(x, target), lambda dz: dz * minus_truth(x, target) / x.shape[1]


@cross_entropy.mistake()
def truth_minus_share(x, target):
    """This is y - p: the sign is turned round, and training would climb.

    A share that is too high has to go down: its gradient is positive. p - y.
    """
    return entropy(x, target), lambda dz: -dz * minus_truth(x, target) / len(x)


@cross_entropy.mistake()
def only_the_column_of_the_target(x, target):
    """Only the score of the target gets a gradient.

    The other scores stand in the sum: where they have a share, they should lose it.
    """

    def backward(dz):
        dx = np.zeros_like(x)
        rows = np.arange(len(x))
        dx[rows, target] = minus_truth(x, target)[rows, target]
        return dz * dx / len(x)

    return entropy(x, target), backward


@cross_entropy.mistake()
def the_slope_of_the_log_alone(x, target):
    """This is -1 / p at the target: the slope of the log, before it goes back through the softmax.

    The share depends on all scores. Go on through softmax: what remains is p - y.
    """

    def backward(dz):
        dx = np.zeros_like(x)
        rows = np.arange(len(x))
        dx[rows, target] = -1 / shares(x)[rows, target]
        return dz * dx / len(x)

    return entropy(x, target), backward


@cross_entropy.mistake()
def the_truth_never_subtracted(x, target):
    """The shares themselves are returned: 1 at the target was never subtracted.

    share minus truth: dx[np.arange(N), target] -= 1.
    """
    return entropy(x, target), lambda dz: dz * shares(x) / len(x)


@cross_entropy.mistake()
def dz_left_out(x, target):
    """dz does not occur in the gradient: it is right for dz = 1 alone.

    A loss may be scaled or added to another one. Multiply by dz.
    """
    return entropy(x, target), lambda dz: minus_truth(x, target) / len(x)


@cross_entropy.mistake()
def target_subtracted_from_whole_columns(x, target):
    """1 is subtracted from whole columns: dx[:, target] -= 1 takes every row for each target.

    Pair each row with its target: dx[np.arange(N), target] -= 1.
    """

    def backward(dz):
        dx = shares(x)
        dx[:, target] -= 1
        return dz * dx / len(x)

    return entropy(x, target), backward


EXERCISES = (softmax, log_softmax, cross_entropy)
