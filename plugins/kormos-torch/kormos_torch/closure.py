"""A user's closure as loss and gradient, whichever way it is written.

It may be written as for `torch.optim.LBFGS`: ``zero_grad``, loss, ``backward``, return the
loss; or it may return the loss only. For Hessian products the gradient is recorded, so that
it can be differentiated once more; ``loss.backward()`` inside the closure is then made to
record too, by a mode of torch's that sees every call of its functions.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, final

import torch
from torch.overrides import TorchFunctionMode

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kormos_torch.noise import FrozenNoise

__all__ = ["Closure", "Gradients", "Slope", "multiply"]

Gradients: TypeAlias = "list[torch.Tensor | None]"
"""One for each parameter; None is zero."""


class Slope(NamedTuple):
    """A loss and its gradient.

    Attributes
    ----------
    f : float
        The loss.
    gradients : list of torch.Tensor or None
        One for each parameter; None for those that the loss does not depend on.
    recorded : bool
        Whether the gradient can be differentiated once more.
    """

    f: float
    gradients: Gradients
    recorded: bool

    def to_multiply(self) -> Gradients:
        """Return the gradient, to be differentiated.

        Returns
        -------
        list of torch.Tensor or None
            One for each parameter.

        Raises
        ------
        RuntimeError
            If it was not recorded.
        """
        if not self.recorded:
            message = (
                "the closure makes its gradient other than by loss.backward(), which cannot be "
                "differentiated once more; return the loss without a gradient instead"
            )
            raise RuntimeError(message)
        return self.gradients


@final
class Closure:
    """The loss at the parameters' present values, and its gradient.

    Parameters
    ----------
    function : callable
        The user's; takes nothing and returns the loss.
    parameters : sequence of torch.Tensor
        What is differentiated by; their ``.grad`` is None after each evaluation.
    noise : FrozenNoise or None
        The random numbers of every evaluation; None for fresh ones.

    Attributes
    ----------
    returned : torch.Tensor or None
        The latest loss as the user's function returned it, detached; None for a number.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        parameters: Sequence[torch.Tensor],
        noise: FrozenNoise | None,
    ) -> None:
        self._function = function
        self._parameters = list(parameters)
        self._noise = noise
        self.returned: torch.Tensor | None = None

    def value(self) -> float:
        """Return the loss.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        UnsupportedError
            If the closure returns no single number.
        """
        loss = self._call()
        self._clear()
        return self._number(loss)

    def slope(self, *, record: bool) -> Slope:
        """Return the loss and its gradient.

        Parameters
        ----------
        record : bool
            Whether the gradient is to be differentiated once more.

        Returns
        -------
        Slope
            Both; not recorded where the closure keeps the gradient from that.

        Raises
        ------
        UnsupportedError
            If the closure returns no single number, or one without a gradient.
        """
        if not record:
            return self._finish(self._call(), record=False)
        with _Recording() as recording:
            loss = self._call()
        hidden = not recording.num_backward and any(p.grad is not None for p in self._parameters)
        return self._finish(loss, record=not hidden)

    def _call(self) -> Any:
        self._clear()
        if self._noise is not None:
            self._noise.restore()
        with torch.enable_grad():
            return self._function()

    def _clear(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _finish(self, loss: Any, *, record: bool) -> Slope:
        f = self._number(loss)
        gradients: Gradients = [parameter.grad for parameter in self._parameters]
        self._clear()  # a recorded gradient would keep its graph, and the graph the parameter
        if any(gradient is not None for gradient in gradients):
            return Slope(f, gradients, recorded=record)
        if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
            message = (
                f"the closure's loss has no gradient: {loss!r:.80}. Allowed is a loss that is "
                "computed from the parameters by torch, with or without loss.backward(). Return "
                "it without .item() or .detach(), and not from within torch.no_grad()."
            )
            raise UnsupportedError(message)
        with torch.enable_grad():
            found = torch.autograd.grad(
                loss, self._parameters, create_graph=record, allow_unused=True
            )
        return Slope(f, list(found), recorded=record)

    def _number(self, loss: Any) -> float:
        if isinstance(loss, torch.Tensor) and loss.numel() == 1 and not loss.is_complex():
            self.returned = loss.detach().reshape(())
            return float(self.returned)
        if isinstance(loss, Real):
            self.returned = None
            return float(loss)
        what = f"a tensor of shape {tuple(loss.shape)}" if hasattr(loss, "shape") else repr(loss)
        message = (
            f"the closure returned {what:.80}. Allowed is the loss: one real number, as a tensor. "
            "Reduce it, such as by .mean(), and return it."
        )
        raise UnsupportedError(message)


def multiply(
    gradients: Sequence[torch.Tensor | None],
    parameters: Sequence[torch.Tensor],
    directions: Sequence[torch.Tensor],
) -> Gradients:
    """Differentiate a recorded gradient along a direction: the Hessian times it.

    Parameters
    ----------
    gradients : sequence of torch.Tensor or None
        The recorded gradient, one part for each parameter.
    parameters : sequence of torch.Tensor
        The parameters, unchanged since.
    directions : sequence of torch.Tensor
        The direction, one part for each parameter.

    Returns
    -------
    list of torch.Tensor or None
        The product; None is zero.
    """
    pairs = [
        (gradient, direction)
        for gradient, direction in zip(gradients, directions, strict=True)
        if gradient is not None and gradient.requires_grad
    ]
    if not pairs:  # a loss that is linear in all parameters
        return [None] * len(parameters)
    found = torch.autograd.grad(
        [gradient for gradient, _ in pairs],
        list(parameters),
        [direction for _, direction in pairs],
        retain_graph=True,
        allow_unused=True,
    )
    return list(found)


@final
class _Recording(TorchFunctionMode):
    """Let every ``backward()`` record the gradient that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_backward = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, and `torch.Tensor.backward` with ``create_graph=True``."""
        del types
        if func is not torch.Tensor.backward:
            return func(*args, **(kwargs or {}))
        self.num_backward += 1
        with warnings.catch_warnings():
            # of a cycle, which `Closure` breaks
            warnings.filterwarnings("ignore", "Using backward", UserWarning)
            return func(*args, **{**(kwargs or {}), "create_graph": True})
