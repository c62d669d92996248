"""Optimizers under the names that kormos 0.1 gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.check import check_request
from kormos_core.data import adapt
from kormos_core.errors import NotBuiltError, OptionError, UnsupportedError
from kormos_core.objective import (
    Settings,
    build_objective,
    float_dtype,
    forget_programs,
    name_unbounded,
)
from kormos_core.optimizer import BatchOptimizer, get
from kormos_core.request import as_constraints, overridden
from kormos_core.training import DEFAULT_MAXITER, Interrupt, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from kormos_core.objective import (
        ModelObjective,
    )
    from kormos_core.request import SolverRequest
    from kormos_core.training import Iterate

__all__ = ["BatchOptimizer", "ScipyBatchOptimizer", "get"]


@keras.saving.register_keras_serializable(package="kormos")
class ScipyBatchOptimizer(BatchOptimizer):
    """A SciPy method by its name alone, and the loss as plain NumPy functions.

    Compile a model with it; or `build` it on a model and data, and use `func`, `grad`,
    `func_and_grad` and `hessp` with whatever takes NumPy functions.

    Parameters
    ----------
    method : str
        Name of a `scipy.optimize.minimize` method, in any case.
    options, bounds, constraints, tol, epochs, pretrain_fn, batch_size, hvp, training : object
        As of `kormos.BatchOptimizer`.
    name : str or None
        Keras's name of the optimizer.
    """

    def __init__(
        self,
        method: Any = "l-bfgs-b",
        *,
        options: Mapping[str, Any] | None = None,
        bounds: Any = None,
        constraints: Any = (),
        tol: float | None = None,
        epochs: int | None = None,
        pretrain_fn: Callable[[Any], Any] | None = None,
        batch_size: int | None = None,
        hvp: str = "auto",
        training: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            f"scipy:{method}" if isinstance(method, str) else method,
            options=options,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            epochs=epochs,
            pretrain_fn=pretrain_fn,
            batch_size=batch_size,
            hvp=hvp,
            training=training,
            name=name,
        )
        self._objective: tuple[ModelObjective] | None = None
        self._bound_to: tuple[keras.Model, Any] | None = None

    @property
    def method(self) -> str:
        """The SciPy method's name."""
        return self.request.registered.spec.name

    def get_config(self) -> dict[str, Any]:
        """Return what `.keras` files keep.

        Returns
        -------
        dict
            Arguments for the constructor, of JSON's types.
        """
        config = super().get_config()
        del config["solver"], config["jit_compile"]
        return {"method": self.method, **config}

    def build(self, model: Any, Xyw: Any = None) -> None:  # noqa: N803 - the name of 0.1
        """Bind the optimizer to a model and its training data.

        Parameters
        ----------
        model : keras.Model
            A compiled model; Keras itself calls this with a list of variables.
        Xyw : tuple of (x, y) or (x, y, sample_weight), or a source of batches
            The training data, in any form that `fit` takes.
        """
        if not isinstance(model, keras.Model):
            super().build(model)
            return
        x, y, weight = keras.utils.unpack_x_y_sample_weight(Xyw)
        batches = adapt(
            x,
            y,
            weight,
            batch_size=self.request.batch_size if y is not None else None,
            float_dtype=float_dtype(model),
        )
        objective, _ = build_objective(
            model,
            batches,
            settings=Settings(training=self.request.training, eager=bool(model.run_eagerly)),
            bounds=self.request.bounds,
            constraints=self.request.constraints,
            hvp=self.request.hvp,
        )
        # In tuples, which Keras does not track as optimizer state.
        self._objective, self._bound_to = (objective,), (model, Xyw)

    @property
    def objective(self) -> ModelObjective:
        """The loss of the model that the optimizer is built on."""
        if self._objective is None:
            message = (
                f"the optimizer {self.name!r} is not built: it has no model and data yet. "
                "Call build(model, (x, y)) first."
            )
            raise NotBuiltError(message)
        return self._objective[0]

    def func(self, x: NDArray[np.float64]) -> float:
        """Return the loss at ``x``, shape (n,)."""
        return self.objective.value(self._vector(x))

    def grad(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient, shape (n,), at ``x``, shape (n,)."""
        return self.func_and_grad(x)[1]

    def func_and_grad(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        return self.objective.value_and_grad(self._vector(x))

    def hessp(self, x: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``vector``, both of shape (n,)."""
        return self.objective.hvp(self._vector(x), self._vector(vector))

    def get_weights(self) -> NDArray[np.float64]:
        """Return the model's trainable weights as one vector, shape (n,)."""
        return self.objective.program.layout.read()

    def set_weights(self, x: NDArray[np.float64]) -> None:
        """Assign the vector `x`, shape (n,), to the model's trainable weights."""
        self.objective.program.layout.write(self._vector(x))

    @property
    def fg_evals(self) -> int:
        """Evaluations of the loss or of the loss and its gradient since `build`."""
        return self.objective.counts.fg

    @property
    def hessp_evals(self) -> int:
        """Hessian-vector products since `build`."""
        return self.objective.counts.hvp

    def minimize(
        self,
        epochs: int | Sequence[int | None] | None = None,
        callback: Callable[[NDArray[np.float64]], Any] | None = None,
        pretrain_fn: Callable[[Any], Any] | None = None,
        method: str | Sequence[str] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        bounds: Any = None,
        constraints: Any = None,
        tol: float | None = None,
    ) -> NDArray[np.float64]:
        """Minimize the loss from the model's weights, and set them to the best point.

        Parameters
        ----------
        epochs : int, sequence of int, or None
            Iteration limit.
        callback : callable or None
            Called with each accepted iterate, shape (n,).
        pretrain_fn : callable or None
            Called with the model before each method; it may change it.
        method, options, bounds, constraints, tol : object
            As of the constructor; they take precedence over it. A sequence of methods is
            run one after the other, each from where the one before ended; `epochs` and
            `options` are then for all of them, or sequences with one for each.

        Returns
        -------
        ndarray, shape (n,), float64
            The best point; its `Result` is the last of `results`.

        Raises
        ------
        NotBuiltError
            If the optimizer is not built.
        OptionError
            If there are not as many epochs or options as methods.
        """
        if isinstance(method, (list, tuple)) or isinstance(epochs, (list, tuple)):
            methods = [method] if method is None or isinstance(method, str) else list(method)
            limits = _for_each("epochs", epochs, len(methods))
            settings = _for_each("options", options, len(methods))
            for one, limit, own in zip(methods, limits, settings, strict=True):
                x = self.minimize(limit, callback, pretrain_fn, one, own, bounds, constraints, tol)
            return x
        request = overridden(
            self.request,
            epochs=epochs,
            pretrain_fn=pretrain_fn,
            solver=None if method is None else f"scipy:{method}",
            options=options,
            bounds=bounds,
            constraints=None if constraints is None else as_constraints(constraints),
            tol=tol,
        )
        self._rebuild(request)
        objective = self.objective
        check_request(
            request.registered,
            backend=keras.config.backend(),
            size=objective.size,
            dtype=objective.dtype,
            has_bounds=objective.bounds is not None,
            unbounded=name_unbounded(objective.bounds, objective.program.layout),
            has_constraints=bool(objective.constraints),
        )
        with Interrupt() as interrupt:
            run = Run(objective, request.registered, _Told(callback), interrupt)
            try:
                result = run.solve(
                    request.create(),
                    self.get_weights(),
                    maxiter=request.maxiter or DEFAULT_MAXITER,
                )
            finally:
                if run.best is not None:
                    self.set_weights(run.best)
        self.add_result(result)
        return result.x

    def _vector(self, x: Any) -> NDArray[np.float64]:
        vector = np.asarray(x, dtype=np.float64)
        if vector.shape != (self.objective.size,):
            message = (
                f"not a vector of the model's parameters: shape {vector.shape}. Allowed is "
                f"shape ({self.objective.size},), as get_weights() gives. Ravel it."
            )
            raise UnsupportedError(message)
        return vector

    def _rebuild(self, request: SolverRequest) -> None:
        """Build anew where this call or the user's function changes the objective."""
        _ = self.objective
        assert self._bound_to is not None  # noqa: S101 - set with the objective
        model, data = self._bound_to
        if request.pretrain_fn is not None:
            request.pretrain_fn(model)
            forget_programs(model)
        own, self.request = self.request, request
        try:
            self.build(model, data)
        finally:
            self.request = own


def _for_each(name: str, value: Any, count: int) -> list[Any]:
    """Return one value for each of some methods."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        message = (
            f"{name} has {len(value)} values for {count} methods: {value!r:.80}. Allowed is one "
            "for each, or one for all. Pass as many."
        )
        raise OptionError(message)
    return list(value)


class _Told:
    """Pass accepted iterates on to one function."""

    def __init__(self, callback: Callable[[NDArray[np.float64]], Any] | None) -> None:
        self._callback = callback

    def begin(self, number: int) -> None:
        """Take no note of it."""

    def passed(self, iterate: Iterate) -> None:
        """Take no note of it: SciPy's methods run outside the graph."""

    def iterate(self, iterate: Iterate) -> None:
        """Call the function."""
        if self._callback is not None:
            self._callback(iterate.x)
