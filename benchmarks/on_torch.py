"""torch's side of `backends.py`: its bare function, its own L-BFGS."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from cases import Case

__all__ = ["COMPILES_ON_REQUEST", "array", "bare", "by_hand", "rivals", "tensor", "wait"]

COMPILES_ON_REQUEST = True  # whether nothing is compiled unless it is asked for


def tensor(point: np.ndarray) -> Any:
    """Put a vector on the device."""
    return keras.ops.convert_to_tensor(point)


def array(value: Any) -> np.ndarray:
    """Take a vector from the device."""
    return value.detach().cpu().numpy()


def wait(values: Any) -> None:
    """Return when values have been computed."""
    del values
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def by_hand(case: Case) -> Callable[[Any], Any]:
    """Write a case's loss in torch alone: Keras rounds float64 here."""
    x, y = tensor(case.x), tensor(case.y)
    shapes = [tuple(variable.shape) for variable in case.model.trainable_variables]
    sizes = [math.prod(shape) for shape in shapes]

    def loss(flat: Any) -> Any:
        parts = [p.reshape(shape) for p, shape in zip(flat.split(sizes), shapes, strict=True)]
        *hidden, (kernel, bias) = zip(parts[::2], parts[1::2], strict=True)
        h = x
        for w, b in hidden:
            h = torch.tanh(torch.addmm(b, h, w))
        h = torch.addmm(bias, h, kernel)
        if y.is_floating_point():
            return torch.nn.functional.mse_loss(h, y)
        return torch.nn.functional.cross_entropy(h, y) + case.l2 * kernel.square().sum()

    return loss


def bare(loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a loss with its gradient."""

    def function(flat: Any) -> Any:
        leaf = flat.detach().requires_grad_()
        f = loss(leaf)
        return f.detach(), torch.autograd.grad(f, leaf)[0]

    return function


class ReachedError(Exception):
    """The loss is low enough."""


def rivals(
    loss: Callable[[Any], Any], start: np.ndarray, target: float, pairs: int
) -> dict[str, Callable[[], tuple[float, int]]]:
    """Return torch's L-BFGS, ended by the loss."""

    def run() -> tuple[float, int]:
        point = tensor(start).detach().clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [point],
            history_size=pairs,
            line_search_fn="strong_wolfe",
            max_iter=10_000,
            max_eval=100_000,
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )
        evaluations = 0

        def closure() -> Any:
            nonlocal evaluations
            optimizer.zero_grad()
            f = loss(point)
            f.backward()
            evaluations += 1
            if float(f.detach()) <= target:
                raise ReachedError
            return f

        began = time.perf_counter()
        try:
            optimizer.step(closure)
        except ReachedError:
            return time.perf_counter() - began, evaluations
        raise SystemExit("torch.optim.LBFGS did not reach the loss")

    return {"torch.optim.LBFGS": run}
