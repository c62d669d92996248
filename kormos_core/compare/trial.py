"""One problem made ready: data, initial weights, and what measures all solvers alike.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.data import adapt
from kormos_core.objective import AUTO, Settings, build_objective, floatx_scope

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.compare.problem import Data, Problem
    from kormos_core.objective import ModelObjective

__all__ = ["Trial", "prepare"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A problem whose data is loaded and whose initial weights are drawn.

    Attributes
    ----------
    problem : Problem
        The problem.
    data : Data
        Its data, floating arrays in `dtype`.
    dtype : str
        ``"float32"`` or ``"float64"``.
    seed : int
        Seed of the initial weights and of the order of minibatches.
    weights : tuple of ndarray
        The initial weights of every copy of the model.
    num_parameters : int
        Number of trainable parameters n.
    start_loss : float
        Loss of the initial weights.
    """

    problem: Problem
    data: Data
    dtype: str
    seed: int
    weights: tuple[NDArray[Any], ...]
    num_parameters: int
    start_loss: float

    def make_model(self, optimizer: keras.optimizers.Optimizer) -> keras.Model:
        """Make a fresh copy of the model.

        Parameters
        ----------
        optimizer : keras.optimizers.Optimizer
            What it is compiled with.

        Returns
        -------
        keras.Model
            Compiled without metrics, whose cost would be counted as the solver's.
        """
        keras.utils.set_random_seed(self.seed)
        model = _compiled(self.problem, self.dtype, optimizer)
        model.set_weights(self.weights)
        return model

    def make_objective(self, model: keras.Model) -> ModelObjective:
        """Make the objective that measures a copy of the model.

        Parameters
        ----------
        model : keras.Model
            From `make_model`.

        Returns
        -------
        ModelObjective
            The one that `kormos.fit` would make, so that they share traced functions.
        """
        return _objective(model, self.data, self.dtype)

    def measure_metric(self, model: keras.Model) -> float | None:
        """Return the problem's metric on the validation data.

        Parameters
        ----------
        model : keras.Model
            From `make_model`, trained.

        Returns
        -------
        float or None
            The metric; None where the problem has none.
        """
        return self.problem.measure_metric(model, self.data)


def prepare(problem: Problem, *, dtype: str, seed: int) -> Trial:
    """Load a problem's data, draw its initial weights, and set the backend going.

    Parameters
    ----------
    problem : Problem
        The problem.
    dtype : {"float32", "float64"}
        Dtype of parameters, data and loss.
    seed : int
        Seed of the initial weights.

    Returns
    -------
    Trial
        What solvers are trained on.

    Raises
    ------
    UnsupportedError
        If the data or the backend is not available.
    """
    data = problem.recipe.load().cast(dtype)
    with floatx_scope(dtype):
        keras.utils.set_random_seed(seed)
        model = _compiled(problem, dtype, keras.optimizers.SGD())
        objective = _objective(model, data, dtype)
        # also keeps the backend's own start out of the first solver's figures
        start_loss, _ = objective.value_and_grad(objective.program.layout.read())
    return Trial(
        problem=problem,
        data=data,
        dtype=dtype,
        seed=seed,
        weights=tuple(np.array(weight) for weight in model.get_weights()),
        num_parameters=objective.size,
        start_loss=start_loss,
    )


def _compiled(problem: Problem, dtype: str, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    model = problem.recipe.build(dtype)
    problem.compile(model, optimizer)
    return model


def _objective(model: keras.Model, data: Data, dtype: str) -> ModelObjective:
    objective, _ = build_objective(
        model,
        adapt(data.x, data.y, float_dtype=dtype),
        settings=Settings(jit=bool(model.jit_compile)),
        hvp=AUTO,
    )
    return objective
