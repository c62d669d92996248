"""A preconditioner made of the directions of the last run of conjugate gradients.

Symbols: ``p`` direction (n,), ``hp`` its product (n,); ``m`` most pairs of them kept, ``P``
and ``Q`` the pairs as rows (m, n), ``C`` the diagonal of their curvatures ``p' hp`` (m,);
``r`` residual (n,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core.loop import ops
from kormos_native.preconditioners import Gathering

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import State

__all__ = ["ConjugatePairs"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ConjugatePairs:
    """L-BFGS of the directions of the last run (`Preconditioner`).

    Attributes
    ----------
    m : int
        Most pairs that are kept.

    Notes
    -----
    Cost: four passes over the pairs for each product. Memory: ``2 m`` vectors, and as many
    again during a run.

    The directions of one run are conjugate, and then the inverse BFGS matrix of any number
    of pairs is ``(I - P' C⁻¹ Q) gamma (I - Q' C⁻¹ P) + P' C⁻¹ P``: no recursion. It is
    positive definite whatever rounding makes of the pairs. They are taken from the whole
    run at equal distances, as Morales and Nocedal do; ``gamma`` is the largest of their
    ``p' hp / |hp|²``, which is that of the flattest direction. A run with fewer directions
    than are kept changes nothing: it was short because they are still good.

    References
    ----------
    J. L. Morales, J. Nocedal, "Automatic Preconditioning by Limited Memory Quasi-Newton
    Updating", SIAM J. Optim. 10(4), 2000, sections 2 and 3, doi:10.1137/S1052623497327854.
    S. Gratton, A. Sartenaer, J. Tshimanga, "On a Class of Limited Memory Preconditioners
    for Large Scale Linear Systems with Multiple Right-Hand Sides", SIAM J. Optim. 21(3),
    2011, section 3, doi:10.1137/08074008.
    """

    m: int = 8

    def empty(self, n: int) -> dict[str, Any]:
        """Return no pairs for `n` parameters.

        Parameters
        ----------
        n : int
            Number of parameters.

        Returns
        -------
        dict of str to ndarray
            ``pairs`` (2, m, n), ``P`` and ``Q`` with unused rows 0, and their ``curvatures``
            (m,).
        """
        return {"pairs": np.zeros((2, self.m, n)), "curvatures": np.zeros(self.m)}

    def prepare(self, memory: State, product: Callable[[Any], Any]) -> tuple[State, Any]:
        """Return `memory`; `product` is not called."""
        del product
        return memory, 0

    def apply(self, memory: State, r: Any) -> Any:
        """Return the inverse BFGS matrix that `memory` has, times `r`."""
        p, q = memory["pairs"][0], memory["pairs"][1]
        kept = memory["curvatures"] > 0.0
        inverse = ops.where(kept, 1.0 / ops.where(kept, memory["curvatures"], 1.0), 0.0)
        flatness = memory["curvatures"] / ops.maximum(ops.sum(q * q, axis=1), 1e-300)
        gamma = ops.where(ops.any(kept), ops.max(flatness), 1.0)
        along = inverse * ops.matmul(p, r)
        rest = gamma * (r - ops.matmul(along, q))
        return rest + ops.matmul(along - inverse * ops.matmul(q, rest), p)

    def gathering(self, memory: State) -> Gathering:
        """Return how the pairs of `memory` are replaced."""
        start = {
            **{name: ops.zeros_like(memory[name]) for name in ("pairs", "curvatures")},
            "numbers": ops.full((self.m,), -1, "int32"),
            "distance": ops.ones((), "int32"),
        }
        return Gathering(start, self._add, partial(self._learn, memory))

    def _add(self, gathered: State, p: Any, hp: Any, curvature: Any, number: Any) -> State:
        """Take a pair where it is due; when all slots are full, free every other one."""
        numbers, distance = gathered["numbers"], gathered["distance"]
        full = ops.all(ops.logical_and(numbers >= 0, numbers % distance == 0))
        due = ops.logical_and(number % distance == 0, curvature > 0.0)
        distance = ops.where(ops.logical_and(due, full), 2 * distance, distance)
        due = ops.logical_and(due, number % distance == 0)
        free = ops.logical_or(numbers < 0, numbers % distance != 0)
        slot, zero = ops.cast(ops.argmax(free), "int32"), np.int32(0)  # indices of one dtype
        pair = ops.where(due, ops.stack([p, hp]), ops.take(gathered["pairs"], slot, axis=1))
        new = ops.logical_and(ops.arange(self.m, dtype="int32") == slot, due)
        return {
            "pairs": ops.slice_update(gathered["pairs"], (zero, slot, zero), pair[:, None]),
            "curvatures": ops.where(new, curvature, gathered["curvatures"]),
            "numbers": ops.where(new, number, numbers),
            "distance": distance,
        }

    def _learn(self, memory: State, gathered: State) -> State:
        """Return the gathered pairs if they are at least as many."""
        had, has = (ops.sum(part["curvatures"] > 0.0) for part in (memory, gathered))
        return {name: ops.where(has >= had, gathered[name], memory[name]) for name in memory}
