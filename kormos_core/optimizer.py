"""The Keras optimizer that carries a solver's name and options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.errors import BoundsError, KormosError, UnsupportedError
from kormos_core.objective import AUTO, check_kind
from kormos_core.request import SolverRequest, as_constraints, check_jit
from kormos_core.state import SolverState

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from kormos_core.result import Result

__all__ = ["BatchOptimizer", "get", "plain", "plain_bounds"]


@keras.saving.register_keras_serializable(package="kormos")
class BatchOptimizer(keras.optimizers.Optimizer):
    """Name a solver, with its options, where Keras wants an optimizer.

    It holds what the user asked for and takes part in Keras's compiling and saving; the
    solving is done by `kormos.fit` and by models with `kormos.BatchOptimizedMixin`.

    Parameters
    ----------
    solver : str
        Name or alias, such as ``"scipy:l-bfgs-b"``.
    options : mapping of str to object, or None
        The solver's options by its own names.
    bounds : object
        Bounds: ``(lower, upper)`` for all weights, a pair for each parameter,
        `scipy.optimize.Bounds`, or a mapping from weight paths or layer names to pairs.
    constraints : object
        One general constraint on the flat vector or a sequence of them, in the solver
        library's form; only for solvers that support them.
    tol : float or None
        The solver's general tolerance.
    epochs : int or None
        Iteration limit where `fit` is given none.
    pretrain_fn : callable or None
        Called with the model before the fit.
    batch_size : int or None
        Samples swept at a time where `fit` is given none.
    hvp : {"auto", "reverse-over-reverse", "forward-over-reverse", "gauss-newton", \
"finite-difference"} or str
        Kind of Hessian product to start with; ``"auto"`` is the backend's best exact one.
        A plugin's kind is named ``"namespace:kind"``.
    training : bool
        Whether the model is fitted in training mode: dropout frozen but on, batch
        statistics in normalization.
    jit_compile : {"auto", True, False, None}
        Whether XLA compiles solvers that run in the graph: ``"auto"`` tries that on
        accelerators, None does as the model was compiled. On JAX False compiles nothing.
    name : str or None
        Keras's name of the optimizer.

    Attributes
    ----------
    request : SolverRequest
        All of the above.
    results : list of Result
        One result for each fit, the latest last.
    state : SolverState or None
        Where the latest fit stands, in its callbacks and after it; None before the first.
        Model files keep it.

    Raises
    ------
    UnknownSolverError
        If no installed plugin has the solver.
    UnknownOptionError
        If the solver lacks an option.

    Examples
    --------
    >>> import kormos
    >>> optimizer = kormos.BatchOptimizer("scipy:l-bfgs-b", options={"maxcor": 20})
    >>> optimizer.request.solver
    'scipy:l-bfgs-b'
    """

    def __init__(
        self,
        solver: str = "scipy",
        *,
        options: Mapping[str, Any] | None = None,
        bounds: Any = None,
        constraints: Any = (),
        tol: float | None = None,
        epochs: int | None = None,
        pretrain_fn: Callable[[Any], Any] | None = None,
        batch_size: int | None = None,
        hvp: str = AUTO,
        training: bool = True,
        jit_compile: str | bool | None = None,
        name: str | None = None,
    ) -> None:
        request = SolverRequest(
            solver=solver,
            options=dict(options or {}),
            bounds=bounds,
            constraints=as_constraints(constraints),
            tol=tol,
            epochs=epochs,
            pretrain_fn=pretrain_fn,
            batch_size=batch_size,
            hvp=hvp,
            training=training,
            jit_compile=jit_compile,
        )
        if not isinstance(solver, str):
            message = (
                f"not a solver's name: {solver!r:.80}. Allowed is one string. For several "
                "solvers one after the other use kormos.Chain."
            )
            raise UnsupportedError(message)
        check_kind(hvp)
        check_jit(jit_compile)
        request.create()  # a wrong name or option is told here, not at the first fit
        _ = request.maxiter
        super().__init__(learning_rate=1.0, name=name or _identifier(solver))
        self.request = request
        self._results: tuple[Result, ...] = ()
        self._held: tuple[Callable[[], SolverState | None], ...] = ()
        self._loaded = False

    @property
    def learning_rate(self) -> Any:
        """Keras's word for a step's length, always 1: a line search finds each step's."""
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        message = (
            f"learning_rate={learning_rate!r:.80} cannot be honored by {self.request.solver!r}: "
            "its line search or trust region finds each step. Allowed is none. Drop what sets it."
        )
        raise UnsupportedError(message)

    @property
    def state(self) -> SolverState | None:
        """Where the latest fit stands."""
        return self._held[0]() if self._held else None

    def hold_state(self, source: Callable[[], SolverState | None]) -> None:
        """Take the state from `source` whenever it is asked for."""
        self._held = (source,)  # in a tuple, which Keras does not track

    def take_loaded(self) -> bool:
        """Tell whether a state was loaded since this was last asked."""
        loaded, self._loaded = self._loaded, False
        return loaded

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write what Keras keeps of an optimizer, and where the latest fit stands.

        Parameters
        ----------
        store : mutable mapping of str to ndarray
            The optimizer's place in a model file.
        """
        super().save_own_variables(store)
        state = self.state
        if state is not None:
            for name, array in state.to_arrays().items():
                store[name] = array

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read what `save_own_variables` wrote.

        Parameters
        ----------
        store : mapping of str to ndarray
            The optimizer's place in a model file.
        """
        arrays = {name: np.asarray(store[name]) for name in store.keys()}  # noqa: SIM118 - Keras's store is no whole mapping
        super().load_own_variables(
            {name: array for name, array in arrays.items() if not SolverState.owns(name)}
        )
        state = SolverState.from_arrays(arrays)
        self.hold_state(lambda: state)
        self._loaded = state is not None

    @property
    def results(self) -> list[Result]:
        """One result for each fit, the latest last."""
        return list(self._results)

    def add_result(self, result: Result) -> None:
        """Keep the `result` of a fit."""
        self._results = (*self._results, result)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Refuse to step `variable` by `gradient` and `learning_rate`, as minibatches do."""
        del gradient, variable, learning_rate
        message = (
            f"{self.request.solver!r} is a batch solver: it cannot take the minibatch steps of "
            "keras.Model.fit. Allowed are kormos.fit(model, ...) and the fit of a "
            "kormos.BatchOptimizedModel. Use one of them."
        )
        if keras.config.backend() == "jax":
            message += (
                " Within keras.Model.fit on JAX Keras has taken the model's variables by now, and "
                "an error leaves them empty: make or load the model anew."
            )
        raise UnsupportedError(message)

    def get_config(self) -> dict[str, Any]:
        """Return what `.keras` files keep.

        Returns
        -------
        dict
            Arguments for the constructor, of JSON's types.

        Raises
        ------
        UnsupportedError
            If constraints, `pretrain_fn` or an option hold Python functions, which cannot be
            saved.
        """
        request = self.request
        if request.constraints or request.pretrain_fn is not None:
            what = "constraints" if request.constraints else "pretrain_fn"
            message = (
                f"{what} hold Python objects that a saved model cannot keep. Allowed are solver, "
                "options, bounds, tol and limits. Compile without them before saving, and pass "
                "them to fit()."
            )
            raise UnsupportedError(message)
        return {
            "solver": request.solver,
            "options": {name: _kept(name, value) for name, value in request.options.items()},
            "bounds": plain_bounds(request.bounds),
            "tol": request.tol,
            "epochs": request.epochs,
            "batch_size": request.batch_size,
            "hvp": request.hvp,
            "training": request.training,
            "jit_compile": request.jit_compile,
            "name": self.name,
        }


def get(identifier: Any) -> BatchOptimizer:
    """Return the carrier that an identifier means.

    Parameters
    ----------
    identifier : str or BatchOptimizer
        Name or alias of a solver, in any case, or an instance, which is returned.

    Returns
    -------
    BatchOptimizer
        The carrier.

    Raises
    ------
    UnknownSolverError
        If no installed plugin has the solver.
    UnsupportedError
        If the identifier is neither a name nor an instance.
    """
    if isinstance(identifier, BatchOptimizer):
        return identifier
    if isinstance(identifier, str):
        return BatchOptimizer(identifier)
    message = (
        f"not a solver: {identifier!r:.80}. Allowed are the name of a solver and a "
        "kormos.BatchOptimizer. `kormos solvers` lists the names."
    )
    raise UnsupportedError(message)


def _identifier(solver: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in solver.lower())


def _kept(name: str, value: Any) -> Any:
    """Return an option in JSON's types, or refuse to."""
    kept = plain(value)
    try:
        json.dumps(kept)
    except (TypeError, ValueError) as error:
        message = (
            f"option {name}={value!r:.80} holds Python objects, which a saved model cannot keep. "
            "Allowed are values of JSON's types and arrays. Compile with another solver before "
            "saving, and with this one after loading."
        )
        raise UnsupportedError(message) from error
    return kept


def plain(value: Any) -> Any:
    """Turn NumPy values within `value` into JSON's types; anything else passes."""
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def plain_bounds(bounds: Any) -> Any:
    """Turn `bounds` of any form into JSON's types."""
    if bounds is None:
        return None
    if isinstance(bounds, Mapping):
        return {name: plain(list(pair)) for name, pair in bounds.items()}
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        pairs = zip(*np.broadcast_arrays(np.atleast_1d(bounds.lb), bounds.ub), strict=True)
        listed = [[float(low), float(high)] for low, high in pairs]
        return listed if len(listed) > 1 else listed[0]
    try:
        return [plain(entry) for entry in bounds]
    except (TypeError, KormosError) as error:
        message = f"bounds cannot be saved: {bounds!r:.120}. Use pairs or a mapping to pairs."
        raise BoundsError(message) from error
