"""Losses take their arguments by place, and the two old ones in PyTorch's meaning, as functions and as modules."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

rng = np.random.default_rng(0)
A, B, C = (mg.tensor(rng.random((4, 3))) for _ in range(3))
SIGNS, IDS = mg.tensor([1.0, -1.0, 1.0, -1.0]), mg.tensor([0, 2, 1, 0])

LOSSES = [
    ("cross_entropy", nn.CrossEntropyLoss, (A, IDS)), ("nll_loss", nn.NLLLoss, (A, IDS)),
    ("mse_loss", nn.MSELoss, (A, B)), ("l1_loss", nn.L1Loss, (A, B)), ("smooth_l1_loss", nn.SmoothL1Loss, (A, B)),
    ("binary_cross_entropy", nn.BCELoss, (A, B)), ("binary_cross_entropy_with_logits", nn.BCEWithLogitsLoss, (A, B)),
    ("kl_div", nn.KLDivLoss, (A, B)), ("poisson_nll_loss", nn.PoissonNLLLoss, (A, B)),
    ("soft_margin_loss", nn.SoftMarginLoss, (A[:, 0], SIGNS)),
    ("hinge_embedding_loss", nn.HingeEmbeddingLoss, (A[:, 0], SIGNS)),
    ("margin_ranking_loss", nn.MarginRankingLoss, (A[:, 0], B[:, 0], SIGNS)),
    ("cosine_embedding_loss", nn.CosineEmbeddingLoss, (A, B, SIGNS)),
    ("triplet_margin_loss", nn.TripletMarginLoss, (A, B, C)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "module", "inputs"), LOSSES)
@pytest.mark.parametrize(
    ("old", "reduction"),
    [
        ({"size_average": False}, "sum"), ({"size_average": True}, "mean"), ({"reduce": False}, "none"),
        ({"reduce": True}, "mean"), ({"reduce": False, "size_average": False}, "none"),
        ({"reduce": True, "size_average": False}, "sum"),
    ],
)  # fmt: skip
def test_the_old_arguments_mean_a_reduction(name, module, inputs, old, reduction):
    expected = getattr(F, name)(*inputs, reduction=reduction)
    assert getattr(F, name)(*inputs, **old).equal(expected) and module(**old)(*inputs).equal(expected)
    assert (expected.ndim == 0) == (reduction != "none")


@pytest.mark.parametrize(("name", "module", "inputs"), [*LOSSES, ("huber_loss", nn.HuberLoss, (A, B))])
def test_names_and_places_are_pytorchs(name, module, inputs):
    torch = pytest.importorskip("torch")
    for ours, theirs in (
        (getattr(F, name), getattr(torch.nn.functional, name)), (module, getattr(torch.nn, module.__name__)),
    ):  # fmt: skip
        mine, wanted = ({p.name: p.default for p in inspect.signature(f).parameters.values()} for f in (ours, theirs))
        if "weight" not in mine:  # of mse_loss and its like, the newest
            wanted.pop("weight", None)
        assert list(mine.items()) == list(wanted.items())


def test_by_place():
    assert nn.CrossEntropyLoss(mg.tensor([1.0, 2.0, 3.0]), False)(A, IDS).equal(
        F.cross_entropy(A, IDS, mg.tensor([1.0, 2.0, 3.0]), reduction="sum")
    )
    assert nn.BCELoss(B)(A, C).equal(F.binary_cross_entropy(A, C, B)) and "weight" in nn.BCELoss(B).state_dict()
    swapped = nn.TripletMarginLoss(2.0, 2.0, 1e-6, True)(A, B, C)
    near, far = (F.pairwise_distance(*pair) for pair in ((A, B), (A, C)))
    far = far.minimum(F.pairwise_distance(B, C))
    assert mg.allclose(swapped, (near - far + 2).relu().mean())
    stirling = nn.PoissonNLLLoss(False, True)(A, B * 5)
    assert stirling > nn.PoissonNLLLoss(False)(A, B * 5)
