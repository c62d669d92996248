"""The past steps of a limited-memory BFGS method, and their inverse Hessian.

Symbols: ``s`` step (n,) and ``y`` change of the gradient over it (n,), a pair; ``m`` most
pairs kept; ``S`` and ``Y`` the steps and changes as rows (m, n); ``R`` the upper triangle
of ``S Y'`` in the order of age; ``g`` gradient (n,). All are float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kormos_core.loop import ops

if TYPE_CHECKING:
    from kormos_core.loop import State

__all__ = ["empty_history", "forget", "learn"]

_EPSILON: Final = float(np.finfo(np.float64).eps)


def empty_history(m: int, n: int) -> dict[str, Any]:
    """Return the history before the first pair.

    Parameters
    ----------
    m : int
        Most pairs that are kept.
    n : int
        Number of parameters.

    Returns
    -------
    dict of str to ndarray
        ``pairs`` (2 m, n), rows of ``S`` and ``Y`` in turn, unused ones 0; ``inverse``
        (m, m), that of ``R``; ``gram`` (m, m), ``Y Y'``; ``diagonal`` (m,) of ``R``;
        ``scale``, the multiple of the identity it all begins with; ``num_pairs`` ever kept.
    """
    return {
        "pairs": np.zeros((2 * m, n)),
        "inverse": np.zeros((m, m)),
        "gram": np.zeros((m, m)),
        "diagonal": np.zeros(m),
        "scale": np.float64(1.0),
        "num_pairs": np.int32(0),
    }


def learn(history: State, s: Any, y: Any, g: Any, usable: Any) -> tuple[State, Any]:
    """Return the history with one more pair, and its inverse Hessian times `g`.

    Parameters
    ----------
    history : dict of str to tensor
        What `empty_history` or `learn` gave.
    s, y : tensor, shape (n,)
        The pair.
    g : tensor, shape (n,)
        The gradient.
    usable : tensor, scalar, bool
        Whether the pair may be kept; it is if also ``s' y > epsilon |y|²``.

    Returns
    -------
    history : dict of str to tensor
        The history, the oldest pair replaced where there was no room.
    product : tensor, shape (n,)
        The inverse Hessian times `g`.

    Notes
    -----
    Cost: three passes over the pairs, each a product of a matrix and a vector, and O(m²).
    ``R`` is never solved with: its inverse is kept, gains a column with each pair, and
    loses a row and a column with the oldest one, which leaves the rest as it is. Slots are
    used in turn, so that ``R`` is triangular up to a permutation that nothing here needs to
    know.

    References
    ----------
    R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and
    their use in limited memory methods", Math. Program. 63, 1994, theorem 2.2,
    doi:10.1007/BF01582063.
    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A Limited Memory Algorithm for Bound
    Constrained Optimization", SIAM J. Sci. Comput. 16(5), 1995, equation (3.9),
    doi:10.1137/0916069.
    """
    m, n = history["diagonal"].shape[0], history["pairs"].shape[1]
    sy, yy = ops.sum(s * y), ops.sum(y * y)
    kept = ops.logical_and(usable, sy > _EPSILON * yy)
    slot = history["num_pairs"] % m
    corner = (2 * slot, np.int32(0))  # JAX wants indices of one dtype
    pair = ops.where(kept, ops.stack([s, y]), ops.slice(history["pairs"], corner, (2, n)))
    pairs = ops.slice_update(history["pairs"], corner, pair)
    s_y, y_y = _split(ops.matmul(pairs, y))
    s_g, y_g = _split(ops.matmul(pairs, g))

    new = ops.logical_and(ops.arange(m, dtype="int32") == slot, kept)
    old = ops.where(new[:, None], 0.0, history["inverse"])
    column = ops.where(new, 1.0, -ops.matmul(old, ops.where(new, 0.0, s_y))) / sy
    across = ops.where(new[:, None], y_y[None, :], history["gram"])
    after = {
        "pairs": pairs,
        "inverse": ops.where(new[None, :], column[:, None], old),
        "gram": ops.where(new[None, :], y_y[:, None], across),
        "diagonal": ops.where(new, sy, history["diagonal"]),
        "scale": ops.where(kept, sy / yy, history["scale"]),
        "num_pairs": history["num_pairs"] + ops.cast(kept, "int32"),
    }
    u = ops.matmul(after["inverse"], s_g)
    bent = ops.matmul(after["gram"], u) - y_g
    steps = ops.matmul(after["diagonal"] * u + after["scale"] * bent, after["inverse"])
    weights = ops.reshape(ops.stack([steps, -after["scale"] * u], axis=1), (2 * m,))
    return after, after["scale"] * g + ops.matmul(weights, pairs)


def forget(history: State, when: Any) -> State:
    """Return the history without its pairs.

    Parameters
    ----------
    history : dict of str to tensor
        What `learn` gave.
    when : tensor, scalar, bool
        Whether they are forgotten.

    Returns
    -------
    dict of str to tensor
        The history; as nothing of a pair counts without its part of ``inverse``, no more
        than that is changed.
    """
    return {**history, "inverse": ops.where(when, 0.0, history["inverse"])}


def _split(products: Any) -> tuple[Any, Any]:
    """Return the products with the steps and with the changes, each (m,)."""
    by_pair = ops.reshape(products, (-1, 2))
    return by_pair[:, 0], by_pair[:, 1]
