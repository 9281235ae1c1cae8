"""Recording switched on and off beyond ``no_grad``: PyTorch's other forms of it."""

from __future__ import annotations

from minigrad.core.graph import F, no_grad, state


class enable_grad(no_grad):
    """Inside, the graph is recorded even where ``no_grad`` is in force."""

    enabled = True


class set_grad_enabled(no_grad):
    """Switch recording on or off at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._at_call = state.grad_enabled
        self.enabled = state.grad_enabled = bool(mode)

    def __enter__(self) -> None:
        self._before.append(self._at_call)
        state.grad_enabled = self.enabled

    def __call__(self, function: F) -> F:
        state.grad_enabled = self._at_call  # as a decorator, it is for the function alone
        return (enable_grad if self.enabled else no_grad)()(function)


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return state.grad_enabled
