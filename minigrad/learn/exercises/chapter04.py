"""What chapter 4 asks for: matmul, bias, mean, embedding, and what goes wrong in them."""

import numpy as np

from minigrad.learn.exercise import Exercise, given


def enter(exercise, name, says, hint, wrong, forgets=""):
    wrong.__name__, wrong.__doc__ = name, f"{says}\n\n{hint}"
    exercise.mistake(forgets=forgets)(wrong)


def product(x, w):
    return np.array([[sum(a * b for a, b in zip(row, column, strict=True)) for column in w.T] for row in x])


matmul = Exercise(
    "matmul",
    # Square: a transpose too many or too few passes without an error, and has to be seen in the numbers.
    draw=lambda rng: given(rng.normal(size=(4, 4)), rng.normal(size=(4, 4))),
    definition=product,
    paths=("x → z", "w → z"),
    hints=(
        "dx has the shape of x, dw that of w: which product of dz and the other one has it?",
        "dx = dz @ wᵀ, dw = xᵀ @ dz",
        "return dz @ w.T, x.T @ dz",
    ),
)
for name, says, hint, gradients, *forgets in [
    (
        "w not transposed",
        "dx is dz @ w: the transpose is missing.",
        "dz (N, O) and w (I, O): only dz @ wᵀ is (N, I).",
        lambda dz, x, w: (dz @ w, x.T @ dz),
    ),
    (
        "x not transposed",
        "dw is x @ dz: the transpose is missing.",
        "x (N, I) and dz (N, O): only xᵀ @ dz is (I, O).",
        lambda dz, x, w: (dz @ w.T, x @ dz),
    ),
    (
        "neither transposed",
        "Both transposes are missing.",
        "dx = dz @ wᵀ, dw = xᵀ @ dz.",
        lambda dz, x, w: (dz @ w, x @ dz),
    ),
    (
        "dw turned round",
        "dw is dzᵀ @ x: the transpose of what it should be.",
        "dw has the shape of w, (I, O): xᵀ @ dz.",
        lambda dz, x, w: (dz @ w.T, dz.T @ x),
    ),
    (
        "dx turned round",
        "dx is w @ dzᵀ: the transpose of what it should be.",
        "dx has the shape of x, (N, I): dz @ wᵀ.",
        lambda dz, x, w: (w @ dz.T, x.T @ dz),
    ),
    (
        "factors in the wrong order for x",
        "dx is wᵀ @ dz, and should be dz @ wᵀ.",
        "Matrices may not change places: (N, O) @ (O, I).",
        lambda dz, x, w: (w.T @ dz, x.T @ dz),
    ),
    (
        "factors in the wrong order for w",
        "dw is dz @ xᵀ, and should be xᵀ @ dz.",
        "Matrices may not change places: (I, N) @ (N, O).",
        lambda dz, x, w: (dz @ w.T, dz @ x.T),
    ),
    (
        "gradients exchanged",
        "The two gradients are exchanged.",
        "In the order of the arguments: x first.",
        lambda dz, x, w: (x.T @ dz, dz @ w.T),
    ),
    (
        "mean over the batch",
        "dw is divided by the number of rows: a mean that the forward does not have.",
        "Contributions are added up. A mean belongs to the loss.",
        lambda dz, x, w: (dz @ w.T, x.T @ dz / len(x)),
    ),
    (
        "inverse for transpose",
        "The inverse of w is used, and its transpose should be.",
        "Nothing is undone on the way back: slopes are multiplied and added.",
        lambda dz, x, w: (dz @ np.linalg.inv(w), x.T @ dz),
    ),
    (
        "element by element",
        "The gradients are products element by element.",
        "z is a sum of products: the gradients are matrix products.",
        lambda dz, x, w: (dz * w, dz * x),
    ),
    (
        "x gets nothing",
        "dx is 0.",
        "Both factors move the result.",
        lambda dz, x, w: (0 * x, x.T @ dz),
        "x → z",
    ),
    (
        "dz forgotten for x",
        "dx is wᵀ summed, without dz.",
        "Every slope is multiplied by dz.",
        lambda dz, x, w: (np.ones_like(dz) @ w.T, x.T @ np.ones_like(dz)),
    ),
]:
    enter(matmul, name, says, hint, lambda x, w, g=gradients: (x @ w, lambda dz: g(dz, x, w)), *forgets)
for name, says, hint, forward in [
    (
        "multiplied element by element",
        "x * w multiplies element by element.",
        "A matrix product: x @ w.",
        lambda x, w: x * w,
    ),
    (
        "w turned in the forward",
        "The result is x @ wᵀ.",
        "w is (I, O) here: x @ w.",
        lambda x, w: x @ w.T,
    ),
    (
        "factors exchanged in the forward",
        "The result is w @ x.",
        "x @ w: rows of x, columns of w.",
        lambda x, w: w @ x,
    ),
]:
    enter(matmul, name, says, hint, lambda x, w, f=forward: (f(x, w), lambda dz: (dz @ w.T, x.T @ dz)))

add_bias = Exercise(
    "add_bias",
    draw=lambda rng: given(rng.normal(size=(4, 3)), rng.normal(size=3)),
    definition=lambda x, b: np.array([row + b for row in x]),
    paths=("x → z", "b → every row of z"),
    hints=(
        "How many numbers of z move if one number of b does?",
        "dx = dz; db is the sum of dz over the rows.",
        "return dz, dz.sum(0)",
    ),
)
for name, says, hint, db in [
    (
        "shape of the output",
        "db has the shape of z: it is not summed over the rows.",
        "b was used once for each row: add them up, dz.sum(0).",
        lambda dz: dz,
    ),
    (
        "first row alone",
        "db is the first row of dz.",
        "b moves every row: add them up.",
        lambda dz: dz[0],
    ),
    (
        "last row alone",
        "db is the last row of dz.",
        "b moves every row: add them up.",
        lambda dz: dz[-1],
    ),
    (
        "mean of the rows",
        "db is the mean over the rows, and should be the sum.",
        "If b rises by 1, each of the rows does: contributions are added.",
        lambda dz: dz.mean(0),
    ),
    (
        "sum of everything",
        "db is one number for all: the sum of the whole dz.",
        "A sum over rows alone: axis 0.",
        lambda dz: np.full(dz.shape[1], dz.sum()),
    ),
    (
        "one number for db",
        "db is a single number: the sum of the whole dz.",
        "A sum over rows alone: axis 0.",
        lambda dz: dz.sum(),
    ),
    (
        "wrong axis",
        "db is summed along each row: it has N numbers.",
        "A sum over the rows, axis 0: one number for each column.",
        lambda dz: dz.sum(1),
    ),
    (
        "number of rows",
        "db counts the rows: dz does not occur in it.",
        "The sum of dz over the rows.",
        lambda dz: np.full(dz.shape[1], float(len(dz))),
    ),
    (
        "row axis kept",
        "db has shape (1, O): the summed axis was kept.",
        "b has shape (O,): dz.sum(0) without keepdims.",
        lambda dz: dz.sum(0, keepdims=True),
    ),
    (
        "bias without a gradient",
        "db is 0.",
        "b moves every row.",
        lambda dz: np.zeros(dz.shape[1]),
    ),
]:
    enter(add_bias, name, says, hint, lambda x, b, g=db: (x + b, lambda dz: (dz, g(dz))))
enter(
    add_bias,
    "dx is one",
    "dx is 1 everywhere, without dz.",
    "Adding passes dz on as it is.",
    lambda x, b: (x + b, lambda dz: (np.ones_like(x), dz.sum(0))),
)

mean = Exercise(
    "mean",
    draw=lambda rng: given(rng.normal(size=(4, 3))),
    definition=lambda x: np.array([sum(row) / len(row) for row in x]),
    hints=(
        "If one of three numbers rises by 1, by how much does their mean?",
        "Each number of a row gets dz of that row, divided by the length of the row.",
        "return np.repeat(dz[:, None], x.shape[-1], axis=1) / x.shape[-1]",
    ),
)


def dealt(dz, x):
    return np.repeat(dz[:, None], x.shape[-1], axis=1)


for name, says, hint, gradient in [
    (
        "one over N forgotten",
        "dz is dealt out undivided: that is the backward of a sum.",
        "Each number moves the mean by 1/N.",
        lambda dz, x: dealt(dz, x),
    ),
    (
        "divided by all numbers",
        "It is divided by the count of all numbers, rows times columns.",
        "Each mean is over one row: its length alone.",
        lambda dz, x: dealt(dz, x) / x.size,
    ),
    (
        "divided by the rows",
        "It is divided by the number of rows.",
        "Each mean is over one row: divide by its length.",
        lambda dz, x: dealt(dz, x) / len(x),
    ),
    (
        "multiplied by N",
        "It is multiplied by the length of a row.",
        "Each number moves the mean by 1/N: divide.",
        lambda dz, x: dealt(dz, x) * x.shape[-1],
    ),
    (
        "not dealt out",
        "dx has the shape of dz.",
        "dx has the shape of x: each number of a row gets a part.",
        lambda dz, x: dz / x.shape[-1],
    ),
    (
        "dz left out",
        "dx is 1/N everywhere: dz does not occur in it.",
        "Every slope is multiplied by dz.",
        lambda dz, x: np.ones_like(x) / x.shape[-1],
    ),
    (
        "times x",
        "dx is multiplied by x.",
        "The slope of a mean does not depend on x: it is 1/N.",
        lambda dz, x: dealt(dz, x) * x / x.shape[-1],
    ),
    (
        "first column alone",
        "Only the first number of each row gets something.",
        "All of them move the mean alike.",
        lambda dz, x: np.pad(dz[:, None] / x.shape[-1], ((0, 0), (0, x.shape[-1] - 1))),
    ),
]:
    enter(mean, name, says, hint, lambda x, g=gradient: (x.mean(-1), lambda dz: g(dz, x)))
for name, says, hint, forward in [
    (
        "mean of the columns",
        "The mean of each column is taken.",
        "Each row: mean(-1).",
        lambda x: x.mean(0),
    ),
    (
        "mean of everything",
        "The mean of all numbers is taken.",
        "Each row: mean(-1).",
        lambda x: x.mean(),
    ),
    (
        "a sum",
        "The rows are summed, and not divided.",
        "Divide by the length of a row.",
        lambda x: x.sum(-1),
    ),
    (
        "axis kept",
        "The result has shape (N, 1): the axis was kept.",
        "mean(-1) without keepdims.",
        lambda x: x.mean(-1, keepdims=True),
    ),
]:
    enter(mean, name, says, hint, lambda x, f=forward: (f(x), lambda dz: x))

embedding = Exercise(
    "embedding",
    draw=lambda rng: given(rng.normal(size=(7, 3)), ids=np.array([1, *rng.permutation([1, 1, 4, 2, 0])])),
    definition=lambda table, ids: np.array([table[i] for i in ids]),
    hints=(
        "What does a row get that was picked three times?",
        "Begin with zeros of the table's shape; add each row of dz to the row of its id.",
        "dtable = np.zeros_like(table); np.add.at(dtable, ids, dz); return dtable",
    ),
)


def filled(table, ids, dz, how):
    out = np.zeros_like(table)
    how(out, ids, dz)
    return out


def put(out, ids, dz):
    out[ids] = dz


def put_once(out, ids, dz):
    out[ids] += dz


def averaged(out, ids, dz):
    np.add.at(out, ids, dz)
    out /= np.maximum(np.bincount(ids, minlength=len(out)), 1)[:, None]


def counted(out, ids, dz):
    np.add.at(out, ids, 1.0)


def by_length(out, ids, dz):
    np.add.at(out, ids, dz / len(ids))


def in_order(out, ids, dz):
    out[: len(ids)] = dz


def first_wins(out, ids, dz):
    out[ids[::-1]] = dz[::-1]


for name, says, hint, how in [
    (
        "the last one wins",
        "A row that was picked several times keeps the last gradient alone. (Also with +=.)",
        "dtable[ids] += dz adds once per row: np.add.at(dtable, ids, dz).",
        put,
    ),
    (
        "the first one wins",
        "A row that was picked several times keeps the first gradient alone.",
        "Add all of them up: np.add.at(dtable, ids, dz).",
        first_wins,
    ),
    (
        "averaged",
        "A row that was picked several times gets the mean of its gradients.",
        "They are added up: each use moves the loss by itself.",
        averaged,
    ),
    (
        "picks counted",
        "Each row gets how often it was picked: dz does not occur.",
        "Add the rows of dz: np.add.at(dtable, ids, dz).",
        counted,
    ),
    (
        "divided by the number of ids",
        "Everything is divided by the number of ids.",
        "There is no mean in the forward.",
        by_length,
    ),
    (
        "in the order of the ids",
        "The rows of dz are put into the table in order, whatever the ids say.",
        "Row n of dz belongs to row ids[n].",
        in_order,
    ),
]:
    enter(embedding, name, says, hint, lambda table, ids, h=how: (table[ids], lambda dz: filled(table, ids, dz, h)))
enter(
    embedding,
    "dz returned",
    "dz is returned as it is, in the shape of the rows that were picked.",
    "The gradient has the shape of the table.",
    lambda table, ids: (table[ids], lambda dz: dz),
)
enter(
    embedding,
    "dz picked",
    "Rows of dz are picked by the ids: that is the way forward once more.",
    "Backward puts row n of dz into row ids[n] of the table.",
    lambda table, ids: (table[ids], lambda dz: dz[ids]),
)
enter(
    embedding,
    "columns picked",
    "Columns of the table are picked.",
    "A token is a row: table[ids].",
    lambda table, ids: (table[:, np.minimum(ids, table.shape[1] - 1)], lambda dz: table),
)

EXERCISES = (matmul, add_bias, mean, embedding)
