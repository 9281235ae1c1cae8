"""``torch.autograd``: gradients by name, users' own ops, and the checks."""

from minigrad.autograd import functional
from minigrad.core.graph import no_grad
from minigrad.look.anomaly import AnomalyError, detect_anomaly
from minigrad.look.gradcheck import GradcheckError, gradcheck, gradgradcheck
from minigrad.torch import autograd as function
from minigrad.torch.autograd import Context as FunctionCtx
from minigrad.torch.autograd import Function, Variable, backward, grad, once_differentiable
from minigrad.torch.grad_mode import enable_grad, set_grad_enabled

__all__ = [
    "AnomalyError", "Function", "FunctionCtx", "GradcheckError", "Variable", "backward", "detect_anomaly",
    "enable_grad", "function", "functional", "grad", "gradcheck", "gradgradcheck", "no_grad", "once_differentiable",
    "set_grad_enabled",
]  # fmt: skip
