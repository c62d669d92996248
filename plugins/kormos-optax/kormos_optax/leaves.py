"""A tree of JAX arrays as named arrays, and back.

The names are the leaves' paths in the tree, and so the same in every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.loop import State

__all__ = ["flat", "named", "tree_of"]

_PREFIX: Final = "optax."


def named(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by name.

    Parameters
    ----------
    tree : tree of array
        Such as the state of a transformation.

    Returns
    -------
    dict of str to array
        The leaves, named by their paths: ``"optax.0.mu"``.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        f"{_PREFIX}{jax.tree_util.keystr(path, simple=True, separator='.')}": leaf
        for path, leaf in leaves
    }


def flat(tree: Any) -> dict[str, NDArray[Any]]:
    """Return the leaves of a tree by name, as NumPy arrays.

    Parameters
    ----------
    tree : tree of array
        Such as the state of a transformation.

    Returns
    -------
    dict of str to ndarray
        The leaves.

    Raises
    ------
    UnsupportedError
        If a leaf is no array of numbers.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, leaf in named(tree).items():
        is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        if is_key or array.dtype.kind not in "biuf":
            kind = "a typed random key" if is_key else f"{leaf!r:.80}"
            message = (
                f"the state of the transformation cannot be kept: {name.removeprefix(_PREFIX)!r} "
                f"is {kind}. Allowed are arrays of numbers. Leave out what draws random numbers."
            )
            raise UnsupportedError(message)
        arrays[name] = array
    return arrays


def tree_of(state: State, like: Any) -> Any:
    """Return the tree whose leaves are in a state.

    Parameters
    ----------
    state : dict of str to tensor
        The state of a solver.
    like : tree
        A tree of the same structure.

    Returns
    -------
    tree of tensor
        The tree.
    """
    return jax.tree.unflatten(jax.tree.structure(like), [state[name] for name in named(like)])
