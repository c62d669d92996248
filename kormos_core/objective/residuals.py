"""A sum of squares outside of the graph: residuals and products with their Jacobian.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``J`` their Jacobian (m, n), ``v``
direction (n,), ``u`` vector of the residuals' length (m,); all float64.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, final

import keras
import numpy as np

from kormos_core.backends import compile_map, current_backend
from kormos_core.errors import MemoryLimitError, UnsupportedError
from kormos_core.objective.faults import Owner, guarded
from kormos_core.objective.graph import EPSILON
from kormos_core.objective.probes import few_samples, rounding, samples_stand_alone
from kormos_core.objective.rows import (
    BY_SAMPLES,
    DENSE,
    JACOBIAN_LIMIT,
    flat_outputs,
    jacobian,
    scaled_residuals,
)
from kormos_core.objective.sweep import Inputs
from kormos_core.result import FitStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from numpy.typing import NDArray

    from kormos_core.backends import Forward
    from kormos_core.data import Batch
    from kormos_core.objective.numerics import Numerics
    from kormos_core.objective.program import Program
    from kormos_core.protocols import Counts

__all__ = ["JACOBIAN_LIMIT", "STATISTICS_LIMIT", "ResidualFace", "Residuals", "rows_of"]

STATISTICS_LIMIT = 2**32
"""Most ``m n²`` for which a covariance is prepared: operations of some seconds."""

_TOLERANCES = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.1}


class ResidualFace:
    """What an objective shows of its residuals (`kormos_core.LeastSquaresObjective`)."""

    counts: Counts
    numerics: Numerics

    @property
    def _residuals(self) -> Residuals:
        raise NotImplementedError

    def value(self, x: NDArray[np.float64]) -> float:
        """Return the loss at ``x``, shape (n,)."""
        raise NotImplementedError

    @property
    def num_residuals(self) -> int:
        """Number of residuals m."""
        return self._residuals.num

    def residual_scale(self) -> NDArray[np.float64]:
        """Return what raw residuals are multiplied by, shape (m,)."""
        return self._residuals.scale()

    def residuals(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the residuals, shape (m,), at ``x``, shape (n,)."""
        return self._residuals.values(x)

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Jacobian, shape (m, n), at ``x``; small m times n only."""
        return self._residuals.jacobian(x)

    def jvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x) v``, shape (m,)."""
        return self._residuals.jvp(x, v)

    def vjp(self, x: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x)' u``, shape (n,)."""
        return self._residuals.vjp(x, u)

    def ggn_vp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x)' J(x) v``, shape (n,)."""
        return self._residuals.ggn_vp(x, v)

    def fit_statistics(self, x: NDArray[np.float64]) -> FitStatistics | None:
        """Return what the residuals tell of the parameters at ``x``, (n,); nothing is counted.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The best point.

        Returns
        -------
        FitStatistics or None
            None beyond `STATISTICS_LIMIT`.
        """
        if self._residuals.num * x.size**2 > STATISTICS_LIMIT:
            return None
        compiled = self.compile(lambda graph, z: tuple(graph.triangle(z)), ("triangle",))
        squares = compiled(keras.ops.convert_to_tensor(x, dtype="float64"))
        scale = self._residuals.scale()
        penalized = self._residuals.num_penalized
        observed = scale[: scale.size - penalized]
        return FitStatistics(
            factor=_on_host(squares[2]),
            sum_of_squares=2.0 * float(squares[0]),
            num_observations=int(np.count_nonzero(observed)),
            penalized=penalized > 0,
            epsilon=EPSILON[self.numerics.precision],
        )

    def compile(self, function: Callable[..., Any], key: Hashable) -> Callable[..., Any]:
        """Compile a traceable `function` of the objective; equal keys, equal functions."""
        raise NotImplementedError

    def check_squares(self, x: NDArray[np.float64], precision: str) -> None:
        """See that the loss is half the sum of the residuals' squares; nothing is counted.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.
        precision : str
            Dtype that the loss is computed in.

        Raises
        ------
        UnsupportedError
            If it is not.
        """
        residuals = self._residuals  # refuses what is known to be no sum of squares
        residuals.begin_at(x)
        before = self.counts.value
        f, half = self.value(x), 0.5 * float(np.sum(np.square(residuals.values(x))))
        self.counts.value = before
        if not np.isfinite(f) or abs(f - half) <= _TOLERANCES[precision] * abs(f) + 1e-300:
            return
        message = (
            f"the loss is {f:.6g}, and half the sum of the residuals' squares {half:.6g}: it "
            "holds more than them, or weights below 0. Allowed beside residuals are L2 "
            "regularizers. Leave out what add_loss or activity regularizers add, or use "
            "native:lbfgs."
        )
        raise UnsupportedError(message)


class _Passes(Owner, Protocol):
    def forward(self, inputs: Inputs) -> Forward:
        """Return the forward pass of a batch."""


@final
class Residuals:
    """Residuals of a loss that is half a sum of squares, over the whole data.

    Parameters
    ----------
    owner : Program or function
        Gives the forward pass of a batch, and says what is wrong with it.
    batches : callable
        Gives number of samples and traced inputs of each batch.
    size : int
        Number of parameters n.
    penalty : ndarray, shape (n,), or None
        What makes residuals of the parameters, for their regularization.
    counts : Counts
        Where evaluations are counted.
    mean : bool
        Whether a batch counts with its share of the samples.
    how : mapping of str to bool
        As `compile_map` takes it.
    """

    def __init__(
        self,
        owner: _Passes,
        batches: Callable[[], Iterable[tuple[int, Inputs]]],
        size: int,
        *,
        penalty: NDArray[np.float64] | None,
        counts: Counts,
        mean: bool,
        how: Mapping[str, bool],
    ) -> None:
        self._forward, self._batches = owner.forward, batches
        self._counts, self._mean = counts, mean
        self._point, self._penalty = np.zeros(size), penalty
        self._penalized = np.zeros(0, np.intp) if penalty is None else np.flatnonzero(penalty)
        self._both = guarded(compile_map(self._residuals_and_scale, **how), owner)
        self._rows = guarded(compile_map(self._dense_rows, **how), owner)
        self._push = guarded(compile_map(self._pushed, **how), owner)
        self._pull = guarded(compile_map(self._pulled, **how), owner)
        self._square = guarded(compile_map(self._squared, **how), owner)

    def _residuals_and_scale(self, x: Any, inputs: Inputs) -> tuple[Any, Any]:
        return scaled_residuals(*self._forward(inputs)(x))

    def _dense_rows(self, x: Any, inputs: Inputs) -> Any:
        forward = self._forward(inputs)
        _, scale = scaled_residuals(*forward(x))
        return keras.ops.expand_dims(scale, 1) * jacobian(flat_outputs(forward), x)[1]

    def _pushed(self, x: Any, rest: tuple[Any, Inputs]) -> Any:
        v, inputs = rest
        forward = self._forward(inputs)
        _, scale = scaled_residuals(*forward(x))
        _, push = current_backend().jvp(flat_outputs(forward), x)
        return scale * push(v)

    def _pulled(self, x: Any, rest: tuple[Any, Inputs]) -> Any:
        u, inputs = rest
        forward = self._forward(inputs)
        _, scale = scaled_residuals(*forward(x))
        _, pull = current_backend().vjp(flat_outputs(forward), x)
        return pull(scale * u)

    def _squared(self, x: Any, rest: tuple[Any, Inputs]) -> Any:
        v, inputs = rest
        forward = self._forward(inputs)
        _, scale = scaled_residuals(*forward(x))
        function = flat_outputs(forward)
        _, push = current_backend().jvp(function, x)
        _, pull = current_backend().vjp(function, x)
        return pull(scale * scale * push(v))

    def begin_at(self, x: NDArray[np.float64]) -> None:
        """Take a point, shape (n,), at which the residuals exist: not all do at zero.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point; it is copied.
        """
        self._point = np.array(x, dtype=np.float64)

    def values(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the residuals, shape (m,), at ``x``, shape (n,)."""
        self._counts.value += 1
        return self._evaluate(x)[0]

    def scale(self) -> NDArray[np.float64]:
        """Return what raw residuals are multiplied by, shape (m,); the same at every ``x``."""
        return self._evaluate(self._point)[1]

    def _evaluate(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = self._sweep(lambda inputs: self._both(x, inputs))
        r, scale = (self._joined([both[k] for both in found]) for k in (0, 1))
        if self._penalty is None:
            return r, scale
        own = self._penalty[self._penalized]
        return np.append(r, own * x[self._penalized]), np.append(scale, own)

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Jacobian, shape (m, n), at ``x``; at most `JACOBIAN_LIMIT` numbers."""
        self._check_size(x.size)
        self._counts.value_and_grad += 1
        rows = self._joined(self._sweep(lambda inputs: self._rows(x, inputs)))
        return np.concatenate([rows, self._penalty_rows(x.size)])

    def _penalty_rows(self, size: int) -> NDArray[np.float64]:
        rows = np.zeros((self._penalized.size, size))
        if self._penalty is not None:
            rows[np.arange(self._penalized.size), self._penalized] = self._penalty[self._penalized]
        return rows

    def _check_size(self, size: int) -> None:
        number = sum(self._lengths) * size
        if number > JACOBIAN_LIMIT:
            message = (
                f"a dense Jacobian of {sum(self._lengths):,} residuals and {size:,} parameters "
                f"would have {number:,} numbers. Allowed are {JACOBIAN_LIMIT:,}. Use "
                "native:levenberg-marquardt, which goes through it in slices, or products with it."
            )
            raise MemoryLimitError(message)

    def jvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x) v``, shape (m,)."""
        self._counts.hvp += 1
        found = self._joined(self._sweep(lambda inputs: self._push(x, (v, inputs))))
        return (
            found
            if self._penalty is None
            else np.append(found, (self._penalty * v)[self._penalized])
        )

    def vjp(self, x: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x)' u``, shape (n,)."""
        self._counts.hvp += 1
        rest = iter(np.split(np.asarray(u, np.float64), np.cumsum(self._lengths)))
        shares = iter(self._shares)
        parts = self._sweep(lambda inputs: self._pull(x, (next(rest) * next(shares), inputs)))
        total = np.sum(parts, axis=0)
        if self._penalty is not None:
            total[self._penalized] += self._penalty[self._penalized] * next(rest)
        return np.asarray(total)

    def ggn_vp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x)' J(x) v``, shape (n,), in one sweep."""
        self._counts.hvp += 1
        squared = (
            s * s * part
            for s, part in zip(
                self._shares, self._sweep(lambda inputs: self._square(x, (v, inputs))), strict=True
            )
        )
        total = np.sum(list(squared), axis=0)
        return np.asarray(total if self._penalty is None else total + self._penalty**2 * v)

    @property
    def num(self) -> int:
        """Number of residuals m."""
        return sum(self._lengths) + self._penalized.size

    @property
    def num_penalized(self) -> int:
        """Number of residuals that are parameters times what regularizes them."""
        return int(self._penalized.size)

    @cached_property
    def _lengths(self) -> list[int]:
        """Residuals of each batch."""
        found = self._sweep(lambda inputs: self._both(self._point, inputs))
        return [both[0].shape[0] for both in found]

    @cached_property
    def _shares(self) -> list[float]:
        """What each batch's residuals are multiplied by: the root of its part of the samples."""
        numbers = [number for number, _ in self._batches()]
        return [float(np.sqrt(k / sum(numbers))) if self._mean else 1.0 for k in numbers]

    def _joined(self, parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([s * part for s, part in zip(self._shares, parts, strict=True)])

    def _sweep(self, evaluate: Callable[[Inputs], Any]) -> list[Any]:
        return [
            keras.tree.map_structure(keras.ops.convert_to_numpy, evaluate(inputs))
            for _, inputs in self._batches()
        ]


def rows_of(program: Program, batch: Batch, totals: Any, x: NDArray[np.float64]) -> str:
    """Return how rows of a model's Jacobian are to be made.

    Parameters
    ----------
    program : Program
        The model.
    batch : Batch
        Some of the data.
    totals : tensor or None
        Denominators of the whole data.
    x : ndarray, shape (n,), float64
        A point.

    Returns
    -------
    {BY_SAMPLES, DENSE}
        By samples where these do not depend on each other.
    """
    arrays = few_samples(program.model, batch)
    if arrays is None or program.seeds:
        return DENSE
    at = keras.ops.convert_to_tensor(x, dtype="float64")

    def outputs(some: Any) -> list[Any]:
        return program.forward(Inputs(some, (), totals))(at)[0]

    leaves = [leaf for leaf in keras.tree.flatten(arrays) if leaf is not None]
    several = leaves[0].shape[0] > 1  # one sample alone tells nothing of others
    alone = several and samples_stand_alone(outputs, arrays, rounding(program.model))
    return BY_SAMPLES if alone else DENSE


def _on_host(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor as an array, without a copy where it lies in the host's memory."""
    try:
        return np.asarray(tensor)
    except TypeError:  # it is on another device
        return np.asarray(keras.ops.convert_to_numpy(tensor))
