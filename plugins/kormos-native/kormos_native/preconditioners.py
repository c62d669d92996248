"""Approximate inverses of the Hessian that make conjugate gradients converge faster.

Symbols: ``H`` Hessian, ``D`` its diagonal (n,), ``r`` residual (n,), ``z`` preconditioned
residual (n,), ``p`` direction (n,), ``hp`` its product (n,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, final

import numpy as np

from kormos_core.loop import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import State

__all__ = ["Diagonal", "Gathering", "Identity", "Preconditioner", "random_signs"]

_FIRST_PROBES: Final = 8
_PROBES: Final = 4  # of every later direction
_RENEWAL: Final = 0.1  # share of a new probe in what is known, at least
_FORGETTING: Final = 4.0  # the weight of a probe grows with the cube of its number, at first
_FLOOR: Final = 1e-8  # of the largest entry: where the Hessian's row is 0


class Gathering(NamedTuple):
    """How a run of conjugate gradients is learned from.

    Attributes
    ----------
    start : dict of str to tensor
        What is gathered before the first direction.
    add : callable
        Takes what is gathered, ``p``, ``hp``, the curvature ``p' hp`` and the number of the
        direction; gives what is gathered then.
    learn : callable
        Turns what is gathered into the preconditioner's memory.
    """

    start: State
    add: Callable[[State, Any, Any, Any, Any], State]
    learn: Callable[[State], State]


class Preconditioner(Protocol):
    """An approximate inverse of the Hessian, symmetric and positive definite.

    Its memory is part of a solver's state, and the same all through one run of conjugate
    gradients.
    """

    def empty(self, n: int, /) -> dict[str, Any]:
        """Return the memory that knows nothing, for `n` parameters, in NumPy's types."""
        ...

    def prepare(self, memory: State, product: Callable[[Any], Any], /) -> tuple[State, Any]:
        """Return the memory before a run, and how many times `product` was called for it."""
        ...

    def apply(self, memory: State, r: Any, /) -> Any:
        """Return ``z``, shape (n,), for `r`, shape (n,), as `memory` has it."""
        ...

    def gathering(self, memory: State, /) -> Gathering | None:
        """Return how `memory` is changed by a run; None if it is not."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """No preconditioning (`Preconditioner`)."""

    def empty(self, n: int) -> dict[str, Any]:
        """Return no memory, whatever `n`."""
        del n
        return {}

    def prepare(self, memory: State, product: Callable[[Any], Any]) -> tuple[State, Any]:
        """Return `memory`; `product` is not called."""
        del product
        return memory, 0

    def apply(self, memory: State, r: Any) -> Any:
        """Return `r`; `memory` is empty."""
        del memory
        return r

    def gathering(self, memory: State) -> None:
        """Return nothing; `memory` stays empty."""
        del memory


@final
@dataclass(frozen=True, slots=True)
class Diagonal:
    """Division by an estimate of the Hessian's diagonal (`Preconditioner`).

    Notes
    -----
    Cost: 8 products before the first direction and 4 before each later one. Memory: two
    vectors.

    A product with random signs ``v`` has ``v * (H v)`` for its estimate of the diagonal, off
    by the rest of the row. Deviations from Bekas, Kokiopoulou and Saad: the signs are scaled
    by what is known of ``D`` to the power of -1/2, which makes the estimates as good for
    badly scaled parameters as for others; the mean forgets early probes, whose scaling was
    poor, and old points, so that the last probe never weighs less than 1/10; and it is lifted
    by its standard error, so that entries are not small by chance. Negative entries count by
    their size.

    For parameters of very different scales: on a logistic regression whose features are
    up to 1000 times apart 92 products in place of 1262. Elsewhere it may do harm: twice
    the products on the softmax regression of the digits.

    References
    ----------
    C. Bekas, E. Kokiopoulou, Y. Saad, "An estimator for the diagonal of a matrix", Appl.
    Numer. Math. 57, 2007, equation (2), doi:10.1016/j.apnum.2007.01.003.
    """

    def empty(self, n: int) -> dict[str, Any]:
        """Return a diagonal of ones for `n` parameters.

        Parameters
        ----------
        n : int
            Number of parameters.

        Returns
        -------
        dict of str to ndarray
            ``diagonal`` and ``squares`` (n,), means of the estimates and of their squares,
            and ``num_probes``.
        """
        return {"diagonal": np.ones(n), "squares": np.ones(n), "num_probes": np.int32(0)}

    def prepare(self, memory: State, product: Callable[[Any], Any]) -> tuple[State, Any]:
        """Return the memory after some probes.

        Parameters
        ----------
        memory : dict of str to tensor
            The memory.
        product : callable
            Multiplies with the Hessian.

        Returns
        -------
        memory : dict of str to tensor
            The memory.
        num_products : tensor, scalar, int32
            Number of probes.
        """
        before = memory["num_probes"]
        more = ops.cast(ops.where(before == 0, _FIRST_PROBES, _PROBES), "int32")

        def probe(num_probes: Any, mean: Any, squares: Any) -> tuple[Any, Any, Any]:
            scale = ops.rsqrt(_lifted(num_probes, mean, squares))
            signs = random_signs(mean.shape[0], num_probes)
            found = signs * product(scale * signs) / scale
            found = ops.where(ops.isfinite(found), found, mean)
            weight = _weight(num_probes)
            mean = mean + weight * (found - mean)
            return num_probes + 1, mean, squares + weight * (found * found - squares)

        num_probes, mean, squares = ops.while_loop(
            lambda num_probes, *_: num_probes < before + more,
            probe,
            (before, memory["diagonal"], memory["squares"]),
        )
        return {"diagonal": mean, "squares": squares, "num_probes": num_probes}, more

    def apply(self, memory: State, r: Any) -> Any:
        """Return `r` over the diagonal that `memory` has."""
        return r / _lifted(memory["num_probes"], memory["diagonal"], memory["squares"])

    def gathering(self, memory: State) -> None:
        """Return nothing; `memory` is not changed by a run."""
        del memory


def _weight(number: Any) -> Any:
    """Return the weight of probe `number` in the mean, after those before it."""
    number = ops.cast(ops.maximum(number, 0), "float64")
    return ops.maximum(_FORGETTING / (number + _FORGETTING), _RENEWAL)


def _lifted(num_probes: Any, mean: Any, squares: Any) -> Any:
    """Return the size of the mean, lifted by its standard error."""
    worth = 2.0 / _weight(num_probes - 1) - 1.0  # probes of equal weight that tell as much
    variance = ops.maximum(squares - mean * mean, 0.0) / worth
    size = ops.sqrt(mean * mean + variance)
    return ops.maximum(size, ops.maximum(_FLOOR * ops.max(size), 1e-300))


def random_signs(n: int, seed: Any) -> Any:
    """Draw signs at random, the same ones for the same seed.

    Parameters
    ----------
    n : int
        How many.
    seed : tensor, scalar, int32
        Seed, which may be traced.

    Returns
    -------
    tensor, shape (n,), float64
        Numbers 1 and -1.

    Notes
    -----
    `keras.random` takes no seeds that are traced, so positions and seed are hashed: rounds
    of multiplication and shifts on 32 bits, kept in 64 because backends differ in overflow.
    """
    mask = 0xFFFFFFFF
    bits = ops.arange(1, n + 1, dtype="int64") * 0x9E3779B1
    bits = ops.bitwise_and(bits + ops.cast(seed + 1, "int64") * 0x85EBCA77, mask)
    for shift, factor in ((16, 0x45D9F3B), (15, 0x2C1B3C6D)):
        bits = ops.bitwise_xor(bits, ops.right_shift(bits, shift))
        bits = ops.bitwise_and(bits * factor, mask)
    return 1.0 - 2.0 * ops.cast(ops.bitwise_and(ops.right_shift(bits, 16), 1), "float64")
