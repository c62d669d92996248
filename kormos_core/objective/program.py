"""The traced functions of one compiled model, kept from fit to fit."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, final

import keras

from kormos_core.backends import current_backend
from kormos_core.errors import NotBuiltError, UnsupportedError
from kormos_core.objective.forward import predict
from kormos_core.objective.layout import Layout
from kormos_core.objective.noise import seed_variables
from kormos_core.objective.terms import count_denominators, weighted_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.backends import HVPKind
    from kormos_core.objective.terms import Plan

__all__ = ["Inputs", "Program", "Settings"]


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


class Inputs(NamedTuple):
    """What a traced function takes for one batch, besides the parameters."""

    arrays: tuple[Any, Any, Any]
    seeds: tuple[Any, ...]
    totals: Any


@final
class Program:
    """Loss, gradient and Hessian products of a model as compiled functions.

    Functions are traced at first use for each shape of the data and stay; `num_traces`
    tells how often that happened.

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
        self.num_traces = 0
        self.unusable_hvp: dict[str, str] = {}
        self._hvp: dict[str, Callable[..., NDArray[np.float64]]] = {}

    @property
    def model(self) -> keras.Model:
        """The model."""
        model = self._model()
        if model is None:
            message = "the model of this objective is gone. Keep a reference to it while fitting."
            raise NotBuiltError(message)
        return model

    def scope(
        self, x: Any, inputs: Inputs, states: Iterable[tuple[keras.Variable, Any]] = ()
    ) -> keras.StatelessScope:
        """Enter the model with other values than its variables hold.

        Parameters
        ----------
        x : tensor, shape (n,)
            Values of the trainable variables.
        inputs : Inputs
            The batch, whose seeds are used.
        states : iterable of (keras.Variable, tensor)
            Values of further variables.

        Returns
        -------
        keras.StatelessScope
            The scope; it collects updates instead of making them.
        """
        mapping = list(zip(self.layout.variables, self.layout.split(x), strict=True))
        mapping += list(zip(self.seeds, inputs.seeds, strict=True))
        return keras.StatelessScope(state_mapping=[*mapping, *states], collect_losses=True)

    def _loss(self, x: Any, inputs: Inputs) -> Any:
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
            self._refuse_assignments(scope, given)
            return loss

    def _refuse_assignments(self, scope: keras.StatelessScope, given: list[Any]) -> None:
        """Refuse a model that sets its own trainable weights, which are the solver's."""
        for variable, value in zip(self.layout.variables, given, strict=True):
            if scope.get_current_value(variable) is value:
                continue
            message = (
                f"the model assigns to its trainable weight {variable.path!r} while it is "
                "called, as SpectralNormalization does in training mode; the assignment would "
                "be lost. Allowed are layers that only read their trainable weights. "
                "Pass training=False to the solver, or train with a Keras optimizer."
            )
            raise UnsupportedError(message)

    def _denominators(self, x: Any, inputs: Inputs) -> Any:
        with self.scope(x, inputs):
            y_pred = predict(self.model, inputs.arrays[0], training=self.settings.training)
            return count_denominators(self.plan, inputs.arrays, y_pred)

    @cached_property
    def value(self) -> Callable[[NDArray[np.float64], Inputs], float]:
        """Part of the loss that a batch gives."""
        return current_backend().compile_value(self._loss, **self._how())

    @cached_property
    def value_and_grad(
        self,
    ) -> Callable[[NDArray[np.float64], Inputs], tuple[float, NDArray[np.float64]]]:
        """Part of the loss and of the gradient, shape (n,), that a batch gives."""
        return current_backend().compile_value_and_grad(self._loss, **self._how())

    @cached_property
    def denominators(self) -> Callable[[NDArray[np.float64], Inputs], Any]:
        """What each output's loss on a batch is divided by."""
        return current_backend().compile_map(self._denominators, **self._how())

    def hvp(self, kind: HVPKind) -> Callable[..., NDArray[np.float64]]:
        """Return the function of ``(x, v, inputs)`` for a batch's Hessian product.

        Parameters
        ----------
        kind : {"forward-over-reverse", "reverse-over-reverse"}
            How to differentiate twice.

        Returns
        -------
        callable
            Gives an ndarray of shape (n,), float64.
        """
        if kind not in self._hvp:
            self._hvp[kind] = current_backend().compile_hvp(self._loss, kind, **self._how())
        return self._hvp[kind]

    def _how(self) -> dict[str, bool]:
        return {"jit": self.settings.jit, "eager": self.settings.eager}
