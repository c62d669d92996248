"""The traced functions of one compiled model, kept from fit to fit."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import keras

from kormos_core.backends import (
    compile_hvp,
    compile_map,
    compile_value,
    compile_value_and_grad,
    current_backend,
)
from kormos_core.curvature import GAUSS_NEWTON
from kormos_core.errors import NotBuiltError, UnsupportedError
from kormos_core.objective.faults import guarded, refuse_assignments, unusable
from kormos_core.objective.forward import predict
from kormos_core.objective.gauss_newton import check_losses, num_added, regularization
from kormos_core.objective.kinds import linearize
from kormos_core.objective.layers import compute_dtypes
from kormos_core.objective.layout import Layout
from kormos_core.objective.losses import output_losses
from kormos_core.objective.noise import other_variables, seed_variables
from kormos_core.objective.precision import narrowest_dtype
from kormos_core.objective.scale import scaled_slope, scaled_up, with_fallback
from kormos_core.objective.squares import computes_residuals, mean_of_squares, residuals_of
from kormos_core.objective.terms import (
    count_denominators,
    loss_of_outputs,
    share_of_samples,
    weighted_loss,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.backends import Forward, Product
    from kormos_core.objective.sweep import Inputs
    from kormos_core.objective.terms import Plan

__all__ = ["Program", "Settings"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a model is evaluated.

    Attributes
    ----------
    training : bool
        Mode of the forward pass: dropout and batch statistics on or off.
    jit : bool
        Whether XLA compiles the functions.
    eager : bool
        Whether they run uncompiled, for debugging (`run_eagerly`).
    """

    training: bool = True
    jit: bool = False
    eager: bool = False


@final
class Program:
    """Loss, gradient and Hessian products of a model as compiled functions.

    Functions are traced at first use for each shape of the data and stay; `num_traces`
    tells how often that happened. `how` is how the backend is to compile them; `compiled`
    keeps what was compiled for in-graph solvers.

    Parameters
    ----------
    model : keras.Model
        A built and compiled model.
    plan : Plan
        How batches add up.
    settings : Settings
        How the model is evaluated.
    """

    def __init__(self, model: keras.Model, plan: Plan, settings: Settings) -> None:
        # Weak, so that keeping programs from fit to fit keeps no model alive.
        self._model = weakref.ref(model)
        self.plan = plan
        self.settings = settings
        self.layout = Layout.of(model.trainable_variables)
        self.seeds = seed_variables(model)
        self._others = other_variables(model) if current_backend().keeps_variables else []
        self.num_traces = 0
        self.unusable_hvp: dict[str, str] = {}
        self.faults: list[Exception] = []
        self.compiled: dict[Hashable, Callable[..., Any]] = {}
        self._hvp: dict[str, Callable[..., NDArray[np.float64]]] = {}
        dtypes = compute_dtypes(model)
        self._underflows = "float16" in dtypes
        self._narrowest = narrowest_dtype(model)
        keeps = dtypes == {"float64"}
        self.how = {"jit": settings.jit, "eager": settings.eager, "keep_float64": keeps}

    @property
    def model(self) -> keras.Model:
        """The model."""
        model = self._model()
        if model is None:
            message = "the model of this objective is gone. Keep a reference to it while fitting."
            raise NotBuiltError(message)
        return model

    def others(self) -> tuple[Any, ...]:
        """Return what variables hold now that compiled functions do not read themselves."""
        return tuple(keras.ops.convert_to_tensor(variable) for variable in self._others)

    @contextmanager
    def scope(
        self, x: Any, inputs: Inputs, states: Iterable[tuple[keras.Variable, Any]] = ()
    ) -> Iterator[keras.StatelessScope]:
        """Enter the model with other values than its variables hold.

        Parameters
        ----------
        x : tensor, shape (n,)
            Values of the trainable variables.
        inputs : Inputs
            The batch, whose seeds are used.
        states : iterable of (keras.Variable, tensor)
            Values of further variables.

        Yields
        ------
        keras.StatelessScope
            The scope; it collects updates instead of making them.
        """
        backend = current_backend()
        with backend.computing_in(self._narrowest), backend.seeded(inputs.seeds):
            mapping = list(zip(self.layout.variables, self.layout.split(x), strict=True))
            mapping += list(zip(self.seeds, inputs.seeds, strict=True))
            if inputs.others:
                mapping += list(zip(self._others, inputs.others, strict=True))
            mapping += states  # the last one counts
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                yield scope

    def loss(self, x: Any, inputs: Inputs) -> Any:
        """Return the part of the loss that a batch gives; traceable.

        Parameters
        ----------
        x : tensor, shape (n,)
            The parameters.
        inputs : Inputs
            The batch.

        Returns
        -------
        tensor, scalar, float64
            The part.
        """
        self.num_traces += 1
        with self.scope(x, inputs) as scope:
            given = [scope.get_current_value(variable) for variable in self.layout.variables]
            loss = weighted_loss(
                self.plan,
                self.model,
                inputs.arrays,
                inputs.totals,
                training=self.settings.training,
            )
            refuse_assignments(self.layout, scope, given)
            return loss

    def _denominators(self, x: Any, inputs: Inputs) -> Any:
        with self.scope(x, inputs):
            y_pred = predict(self.model, inputs.arrays[0], training=self.settings.training)
            return count_denominators(self.plan, inputs.arrays, y_pred)

    @cached_property
    def value(self) -> Callable[[NDArray[np.float64], Inputs], float]:
        """Part of the loss that a batch gives."""
        return guarded(compile_value(self.loss, **self.how), self)

    @cached_property
    def value_and_grad(
        self,
    ) -> Callable[[NDArray[np.float64], Inputs], tuple[float, NDArray[np.float64]]]:
        """Part of the loss and of the gradient, shape (n,), that a batch gives."""
        how = self.how
        plain = guarded(compile_value_and_grad(self.loss, **how), self)
        if not self._underflows:
            return plain
        scaled = compile_value_and_grad(scaled_up(self.loss), **how)
        return with_fallback(guarded(scaled, self), plain)

    def slope(self, x: Any, inputs: Inputs) -> tuple[Any, Any]:
        """Return the parts of loss and gradient that a batch gives; traceable.

        Parameters
        ----------
        x : tensor, shape (n,)
            The parameters.
        inputs : Inputs
            The batch.

        Returns
        -------
        tuple of (tensor, scalar; tensor, shape (n,)), float64
            The parts.
        """
        gradient = scaled_slope if self._underflows else current_backend().value_and_grad
        return gradient(lambda z: self.loss(z, inputs), x)

    @property
    def eager(self) -> bool:
        """Whether the functions run uncompiled."""
        return self.settings.eager

    def unusable(self, error: Exception, arrays: Any = None) -> UnsupportedError:
        """Return what to raise from an `error` of the backend or of the model on `arrays`."""
        return unusable(self.model, arrays, error)

    @cached_property
    def denominators(self) -> Callable[[NDArray[np.float64], Inputs], Any]:
        """What each output's loss on a batch is divided by."""
        return guarded(compile_map(self._denominators, **self.how), self)

    @cached_property
    def differences(self) -> Callable[[NDArray[np.float64], Any], Any]:
        """Function of ``(x, (v, step, inputs))``: `difference_product` of a batch."""
        return compile_map(lambda x, rest: self.difference_product(x, *rest), **self.how)

    @cached_property
    def divisible(self) -> bool:
        """Whether some of the samples estimate the loss of all, as means do and sums do not."""
        losses = keras.tree.flatten(self.model.loss)
        sums = any(getattr(loss, "reduction", None) == "sum" for loss in losses)
        return not sums and type(self.model).compute_loss is keras.Model.compute_loss

    def hvp(self, kind: str) -> Callable[..., NDArray[np.float64]]:
        """Return the function of ``(x, v, inputs)`` for a batch's Hessian product.

        Parameters
        ----------
        kind : str
            How to differentiate twice.

        Returns
        -------
        callable
            Gives an ndarray of shape (n,), float64.
        """
        if kind not in self._hvp:
            self._hvp[kind] = compile_hvp(
                lambda x, inputs: self.product(kind, x, inputs), **self.how
            )
        return self._hvp[kind]

    def product(self, kind: str, x: Any, inputs: Inputs) -> Product:
        """Return the function from ``v`` to a batch's part of ``H(x) v``; traceable.

        Parameters
        ----------
        kind : str
            How to differentiate twice.
        x : tensor, shape (n,)
            The point.
        inputs : Inputs
            The batch.

        Returns
        -------
        callable
            Gives a tensor of shape (n,).
        """
        if kind != GAUSS_NEWTON:
            return linearize(kind)(lambda z: self.loss(z, inputs), x)
        outputs = current_backend().gauss_newton(self.forward(inputs), x)
        extra = self._regularization_product(x, inputs)
        return lambda v: outputs(v) + extra(v)

    def alone(self, x: Any, inputs: Inputs) -> Inputs:
        """Return a batch that is to count as if it were the whole data; traceable.

        Parameters
        ----------
        x : tensor, shape (n,)
            The point.
        inputs : Inputs
            The batch.

        Returns
        -------
        Inputs
            The batch with its own denominators.

        Raises
        ------
        UnsupportedError
            If losses are added that may be sums over samples.
        """
        with self.scope(x, inputs):
            predict(self.model, inputs.arrays[0], training=self.settings.training)
            if num_added(self.model, self.layout) > 0:
                message = (
                    "hvp_fraction below 1 cannot be honored: losses come from add_loss or from "
                    "activity regularizers, and some of the samples estimate no sums. "
                    "Allowed is 1 here. Leave it out."
                )
                raise UnsupportedError(message)
        if self.plan.kind != "split":
            return inputs
        return inputs._replace(totals=self._denominators(x, inputs))

    def difference_product(self, x: Any, v: Any, step: Any, inputs: Inputs) -> Any:
        """Return the Gauss-Newton product with a difference for its Jacobian; traceable.

        Parameters
        ----------
        x, v : tensor, shape (n,)
            Point and direction.
        step : tensor, scalar
            Displacement along `v`.
        inputs : Inputs
            The batch.

        Returns
        -------
        tensor, shape (n,)
            The product, with an error of order ``step**2``.
        """
        part = current_backend().push_forward(self.forward(inputs), x, v, step)
        return part + self._regularization_product(x, inputs)(v)

    def forward(self, inputs: Inputs) -> Forward:
        """Return the model as a function of ``x`` to outputs and the head that is their loss.

        Parameters
        ----------
        inputs : Inputs
            The batch.

        Returns
        -------
        callable
            The function; the outputs are the residuals of a model that computes such.
        """
        training = self.settings.training

        def forward(x: Any) -> tuple[list[Any], Callable[[], Any]]:
            with self.scope(x, inputs):
                y_pred = predict(self.model, inputs.arrays[0], training=training)
                residuals = None
                if computes_residuals(self.model):
                    residuals = residuals_of(self.model, inputs.arrays, y_pred)
                check_losses(self.model, self.layout)
            if residuals is not None:
                outputs = keras.tree.flatten(residuals)
                weights, sample_weight = self.model.residual_weights, inputs.arrays[2]
                return outputs, lambda: keras.ops.cast(
                    mean_of_squares(residuals, weights, sample_weight), "float64"
                )

            def head() -> Any:
                self.num_traces += 1
                model, arrays, totals = self.model, inputs.arrays, inputs.totals
                with self.scope(x, inputs):
                    return loss_of_outputs(
                        self.plan, model, arrays, y_pred, totals, training=training
                    )

            losses = output_losses(self.model, y_pred)
            outputs = zip(keras.tree.flatten(y_pred), losses, strict=True)
            return [output for output, loss in outputs if loss is not None], head

        return forward

    def _regularization_product(self, x: Any, inputs: Inputs) -> Product:
        if all(variable.regularizer is None for variable in self.layout.variables):
            return lambda v: 0.0 * v
        kind = next(iter(current_backend().hvp_kinds))
        product = linearize(kind)(lambda z: regularization(self.layout, z), x)
        share: Any = 1.0
        if self.plan.kind == "split":
            with self.scope(x, inputs):
                y_pred = predict(self.model, inputs.arrays[0], training=self.settings.training)
                share = share_of_samples(self.plan, inputs.arrays, y_pred, inputs.totals)
        return lambda v: share * product(v)
