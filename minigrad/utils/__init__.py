"""``torch.utils``: data sets and loaders, and a log for curves."""

from minigrad.utils import checkpoint, data, tensorboard

__all__ = ["checkpoint", "data", "tensorboard"]
