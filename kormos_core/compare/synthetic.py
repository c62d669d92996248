"""Problems of any size from random numbers, made by their names.

A name is ``KIND-ROWSxCOLUMNS``, and may go on with ``-condC``, ``-rankR`` and ``-seedS``:

- ``least-squares-2000x100``: a linear model of 100 inputs on 2000 samples. The noise is
  orthogonal to the inputs and has mean square 0.01, which so is the least loss.
- ``logistic-1000x50``: a logistic regression with classes drawn from a logistic model, L2 1e-4.
- ``matrix-factorization-200x100``: 200 rows and 100 columns, a vector of `rank` numbers for
  each, fitted to all products of two such vectors; the least loss is 0, at many points.

``condC`` is the condition number of the inputs, 100 where it is left out: their singular values
fall from 1 to 1/C in equal ratios. ``rankR``, 5 where it is left out, is for matrices alone, and
``cond`` is not for them. ``seedS``, 0 where it is left out, is the seed of the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.compare.problem import Data, Problem, UnknownProblemError

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KINDS", "is_synthetic", "make_problem"]

KINDS: Final = ("least-squares", "logistic", "matrix-factorization")
"""What the names of such problems begin with."""

_NAME: Final = re.compile(
    rf"(?P<kind>{'|'.join(KINDS)})-(?P<rows>\d+)x(?P<columns>\d+)"
    r"(?:-cond(?P<cond>\d+(?:\.\d+)?(?:e\d+)?))?(?:-rank(?P<rank>\d+))?(?:-seed(?P<seed>\d+))?"
)
_NOISE: Final = 0.01  # mean square of the noise of least squares
_PENALTY: Final = 1e-4
_MOST_NUMBERS: Final = 10**8  # 0.8 GB in float64


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    """A linear model, or a logistic regression."""

    rows: int
    columns: int
    cond: float
    seed: int
    is_logistic: bool

    def load(self) -> Data:
        """Return inputs of the condition number that is asked for, and targets."""
        import numpy as np

        random = np.random.default_rng(self.seed)
        left = _orthonormal(random.normal(size=(self.rows, self.columns)))
        right = _orthonormal(random.normal(size=(self.columns, self.columns)))
        singular = np.geomspace(1.0, 1.0 / self.cond, self.columns)
        x = np.sqrt(self.rows) * (left * singular) @ right.T
        w = random.normal(size=(self.columns, 1))
        if self.is_logistic:
            chance = 1.0 / (1.0 + np.exp(-x @ w))
            return Data(x=x, y=(random.random(chance.shape) < chance).astype(float))
        noise = random.normal(size=(self.rows, 1))
        noise -= left @ (left.T @ noise)
        return Data(x=x, y=x @ w + noise * np.sqrt(_NOISE / np.mean(noise**2)))

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new linear model without bias, which gives logits or predicted targets."""
        import keras

        del start  # Keras draws the weights
        penalty = keras.regularizers.L2(_PENALTY) if self.is_logistic else None
        dense = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalty, dtype=dtype)
        return keras.Sequential([keras.Input((self.columns,), dtype=dtype), dense])

    def loss(self) -> keras.losses.Loss:
        """Return a new cross-entropy of logits, or mean squared error."""
        import keras

        if self.is_logistic:
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.MeanSquaredError()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Factorization:
    """Two matrices whose product is given."""

    rows: int
    columns: int
    rank: int
    seed: int

    def load(self) -> Data:
        """Return all pairs of indices, and the entries of the product."""
        import numpy as np

        random = np.random.default_rng(self.seed)
        left = random.normal(size=(self.rows, self.rank))
        right = random.normal(size=(self.columns, self.rank))
        pairs = np.indices((self.rows, self.columns)).reshape(2, -1).T.astype("int32")
        return Data(x=pairs, y=(left @ right.T).reshape(-1, 1) / np.sqrt(self.rank))

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new model of two embeddings and their products."""
        import keras

        del start  # Keras draws the weights
        layers, options = keras.layers, {"embeddings_initializer": "normal", "dtype": dtype}
        pairs = keras.Input((2,), dtype="int32")
        left = layers.Embedding(self.rows, self.rank, **options)(pairs[:, 0])
        right = layers.Embedding(self.columns, self.rank, **options)(pairs[:, 1])
        product = layers.Dot(axes=1, dtype=dtype)([left, right])
        return keras.Model(pairs, product)

    def loss(self) -> keras.losses.Loss:
        """Return a new mean squared error."""
        import keras

        return keras.losses.MeanSquaredError()


def is_synthetic(name: str) -> bool:
    """Tell whether a name begins as those of this module do.

    Parameters
    ----------
    name : str
        In lower case.

    Returns
    -------
    bool
        Whether `make_problem` is to make it, or to say what is wrong with it.
    """
    return any(name.startswith(f"{kind}-") for kind in KINDS)


def make_problem(name: str) -> Problem:
    """Return the problem of a name; see `kormos_core.capabilities.ProblemSpec.factory`.

    Parameters
    ----------
    name : str
        As told at the head of this module.

    Returns
    -------
    Problem
        The problem; nothing of it is drawn yet.

    Raises
    ------
    UnknownProblemError
        If the name has another form, or its numbers do not go together.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise UnknownProblemError(_unusable(name, "it has not the form of one"))
    kind, rows, columns = found["kind"], int(found["rows"]), int(found["columns"])
    cond, rank = float(found["cond"] or 100), int(found["rank"] or 5)
    seed = int(found["seed"] or 0)
    if why := _fault(kind, (rows, columns), found["cond"], found["rank"]):
        raise UnknownProblemError(_unusable(name, why))
    recipe: _Factorization | _Linear
    if kind == "matrix-factorization":
        recipe = _Factorization(rows=rows, columns=columns, rank=rank, seed=seed)
        summary, f_min = f"{rows} x {columns} matrix of rank {rank} from two embeddings", 0.0
        return Problem(name=name, summary=summary, recipe=recipe, sets=("synthetic",), f_min=f_min)
    recipe = _Linear(
        rows=rows, columns=columns, cond=cond, seed=seed, is_logistic=kind == "logistic"
    )
    what = "logistic regression, L2 1e-4" if kind == "logistic" else "least squares"
    return Problem(
        name=name,
        summary=f"{what}: {rows} samples, {columns} inputs, condition number {cond:g}",
        recipe=recipe,
        sets=("synthetic",),
        f_min=None if kind == "logistic" else _NOISE,
    )


def _fault(kind: str, shape: tuple[int, int], cond: str | None, rank: str | None) -> str:
    """Say what is wrong with the numbers of a name; nothing where they are fine."""
    rows, columns = shape
    is_matrix, low = kind == "matrix-factorization", min(shape)
    faults = {
        f"{rows} x {columns} is not between 1 and {_MOST_NUMBERS:,} numbers": (
            low < 1 or rows * columns > _MOST_NUMBERS
        ),
        f"{rows} rows are no more than {columns} columns": not is_matrix and rows <= columns,
        "a factorization has no condition number": is_matrix and cond is not None,
        "a rank is for a factorization alone": not is_matrix and rank is not None,
        f"rank {rank or 5} is not between 1 and the lesser of {rows} and {columns}": (
            is_matrix and not 1 <= int(rank or 5) <= low
        ),
        f"condition number {cond} is below 1": float(cond or 1) < 1,
    }
    return next((fault for fault, is_there in faults.items() if is_there), "")


def _unusable(name: str, why: str) -> str:
    return (
        f"the synthetic problem {name!r} cannot be made: {why}. Allowed is KIND-ROWSxCOLUMNS, "
        f"KIND being {', '.join(KINDS)}, then -condC, -rankR, -seedS where they are wanted. "
        "For example logistic-1000x50-cond1e4."
    )


def _orthonormal(matrix: NDArray[np.float64]) -> NDArray[Any]:
    import numpy as np

    return np.linalg.qr(matrix)[0]
