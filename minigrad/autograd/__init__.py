"""``torch.autograd``: gradients by name, users' own ops, and the checks."""

from minigrad.core.graph import no_grad
from minigrad.look.anomaly import AnomalyError, detect_anomaly
from minigrad.look.gradcheck import GradcheckError, gradcheck
from minigrad.torch.autograd import Function, grad
from minigrad.torch.grad_mode import enable_grad, set_grad_enabled

__all__ = [
    "AnomalyError", "Function", "GradcheckError", "detect_anomaly", "enable_grad", "grad", "gradcheck", "no_grad",
    "set_grad_enabled",
]  # fmt: skip
