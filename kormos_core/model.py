"""Keras models whose `compile` takes a solver's name and whose `fit` runs it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import keras

from kormos_core.chain import Chain
from kormos_core.errors import UnsupportedError
from kormos_core.objective import float_dtype, floatx_scope
from kormos_core.optimizer import BatchOptimizer, get
from kormos_core.request import check_jit
from kormos_core.training import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kormos_core.request import SolverRequest

__all__ = ["BatchOptimizedMixin", "BatchOptimizedModel", "BatchOptimizedSequentialModel"]

_FUNCTIONAL = "BatchOptimizedFunctional"
_FIT_BATCH_EPOCHS = 20  # what `fit_batch` of kormos 0.1 had as its default


class BatchOptimizedMixin:
    """Let a Keras model be compiled with a batch solver: put it before `keras.Model`.

    With any other optimizer the model is the Keras model that it was.

    Examples
    --------
    >>> import keras, kormos
    >>> class Line(kormos.BatchOptimizedMixin, keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.dense = keras.layers.Dense(1)
    ...
    ...     def call(self, inputs):
    ...         return self.dense(inputs)
    >>> model = Line()
    >>> model.compile(optimizer="scipy:l-bfgs-b", loss="mse")
    """

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,  # noqa: FBT001, FBT002 - Keras's signature
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",  # noqa: FBT001 - Keras's signature
        auto_scale_loss: bool = True,  # noqa: FBT001, FBT002 - Keras's signature
    ) -> None:
        """Configure the model, as `keras.Model.compile`.

        Parameters
        ----------
        optimizer : str, keras.optimizers.Optimizer, kormos.BatchOptimizer or kormos.Chain
            A name that Keras knows stays Keras's; any other one names a solver; names
            joined by ``">"`` and lists are a chain.
        loss, loss_weights, metrics, weighted_metrics, run_eagerly, jit_compile : object
            As in Keras: on JAX ``jit_compile=False`` compiles nothing.
        steps_per_execution : int
            As in Keras; must be 1 for a solver that does not run in the graph.
        auto_scale_loss : bool
            As in Keras; batch solvers need no loss scale.

        Raises
        ------
        UnknownSolverError
            If neither Keras nor an installed plugin knows the name.
        UnsupportedError
            If the solver cannot honor `steps_per_execution`.
        """
        optimizer = _resolve(optimizer)
        check_jit(jit_compile)
        batch = isinstance(optimizer, BatchOptimizer)
        for request in _requests(optimizer):
            request.check_steps(steps_per_execution)
        self.requested_jit_compile = jit_compile
        ours = isinstance(optimizer, (BatchOptimizer, Chain))
        precision = float_dtype(self) if ours else keras.config.floatx()
        with floatx_scope(precision):
            super().compile(  # type: ignore[misc]
                optimizer=optimizer,
                loss=loss,
                loss_weights=loss_weights,
                metrics=metrics,
                weighted_metrics=weighted_metrics,
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
                jit_compile=jit_compile,
                auto_scale_loss=auto_scale_loss and not batch,
            )

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return what `compile` was called with, for saving.

        Returns
        -------
        dict or None
            None where the model is not compiled.
        """
        config: dict[str, Any] | None = super().get_compile_config()  # type: ignore[misc]
        if config is not None and "jit_compile" in config:
            config["jit_compile"] = self.requested_jit_compile  # Keras keeps what it came to
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as a saved model was, solver and options included.

        Parameters
        ----------
        config : dict
            What `get_compile_config` gave.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        optimizer = self.optimizer  # type: ignore[attr-defined]
        if optimizer is not None and self.built:  # type: ignore[attr-defined]
            optimizer.build(self.trainable_variables)  # type: ignore[attr-defined]

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | Sequence[int | None] | None = None,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,  # noqa: FBT001, FBT002 - Keras's signature
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        method: str | Sequence[Any] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        bounds: Any = None,
        constraints: Any = None,
        tol: float | None = None,
        pretrain_fn: Callable[[Any], Any] | Sequence[Callable[[Any], Any] | None] | None = None,
        resume: str | bool = "auto",
    ) -> keras.callbacks.History:
        """Train the model: by `kormos.fit` with a solver, else by Keras's own `fit`.

        Parameters
        ----------
        x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, \
class_weight, sample_weight, initial_epoch, steps_per_epoch, validation_steps, \
validation_batch_size, validation_freq : object
            As in `kormos.fit` and `keras.Model.fit`.
        shuffle : bool
            For Keras's optimizers; a sum over all samples has no order.
        method : str, sequence or None
            A solver to use instead of the compiled one, by name; a sequence is a chain.
        options, bounds, constraints, tol, pretrain_fn : object
            As of `kormos.BatchOptimizer`; they take precedence over its own.
        resume : {"auto", True, False}
            Whether to go on where the latest fit stood; see `kormos.fit`.

        Returns
        -------
        keras.callbacks.History
            One row for each iteration; with a solver, `result` is the `Result`.

        Raises
        ------
        KormosError
            If model, data, solver and options do not fit together.
        """
        own = {
            "method": method,
            "options": options,
            "bounds": bounds,
            "constraints": constraints,
            "tol": tol,
            "pretrain_fn": pretrain_fn,
            "resume": None if resume == "auto" else resume,
        }
        optimizer = getattr(self, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if optimizer is not None and not isinstance(optimizer, (BatchOptimizer, Chain)):
            _refuse(own, optimizer)
            return super().fit(  # type: ignore[misc]
                x=x,
                y=y,
                batch_size=batch_size,
                epochs=1 if epochs is None else epochs,
                verbose=verbose,
                **({} if callbacks is None else {"callbacks": callbacks}),
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                class_weight=class_weight,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )
        return fit(
            self,
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
            solver=method,
            options=options,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            pretrain_fn=pretrain_fn,
            resume=resume,
        )

    def fit_batch(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        **arguments: Any,
    ) -> keras.callbacks.History:
        """Train with the compiled solver, as `fit` does; kept from kormos 0.1.

        Parameters
        ----------
        x, y, batch_size, epochs : object
            As in `fit`, but that `epochs` is 20 where neither this call nor the optimizer
            has a limit.
        **arguments : object
            All else that `fit` takes, by name.

        Returns
        -------
        keras.callbacks.History
            As from `fit`.

        Raises
        ------
        UnsupportedError
            If the model is compiled with one of Keras's optimizers.
        """
        optimizer = getattr(self, "optimizer", None)
        if isinstance(optimizer, BatchOptimizer):
            limit = (arguments.get("options") or {}).get("maxiter", optimizer.request.maxiter)
            if epochs is None and limit is None:
                epochs = _FIT_BATCH_EPOCHS
        elif optimizer is not None:
            _refuse({"fit_batch()": True}, optimizer)
        return self.fit(x, y, batch_size, epochs, **arguments)


@keras.saving.register_keras_serializable(package="kormos")
class BatchOptimizedModel(BatchOptimizedMixin, keras.Model):
    """`keras.Model` with batch solvers: functional or subclassed."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a functional model where inputs and outputs are given."""
        if cls is BatchOptimizedModel and _is_functional(args, kwargs):
            return super().__new__(_functional_class())  # type: ignore[no-any-return]
        return super().__new__(cls)  # type: ignore[no-any-return]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _is_functional(args, kwargs):
            _derive_from_functional(type(self))
        super().__init__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="kormos")
class BatchOptimizedSequentialModel(BatchOptimizedMixin, keras.Sequential):
    """`keras.Sequential` with batch solvers."""


def __getattr__(name: str) -> Any:
    """Give the class of functional models by its name, which pickle looks for here."""
    if name == _FUNCTIONAL:
        return _functional_class()
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


@functools.cache
def _functional_class() -> type[BatchOptimizedModel]:
    """Join `BatchOptimizedModel` with Keras's class of functional models.

    Keras would otherwise rewrite the bases of `BatchOptimizedModel` itself, after which
    it could not be subclassed any more. The class is reached through an instance, as
    Keras does not export it.
    """
    inputs = keras.Input(shape=(1,), name="kormos_probe")
    outputs = keras.layers.Identity()(inputs)  # some versions refuse inputs as outputs
    functional = type(keras.Model(inputs, outputs, name="kormos_probe"))
    # Keras looks at the constructor's arguments to tell a functional model.
    own = {"__init__": functional.__init__}
    made = type(_FUNCTIONAL, (BatchOptimizedModel, functional), own)
    made.__doc__ = "`BatchOptimizedModel` made of inputs and outputs."
    made.__module__ = __name__
    # Saved under the name of the class that exists in every process, and that makes it again.
    register = keras.saving.register_keras_serializable("kormos", BatchOptimizedModel.__name__)
    register(made)
    register(BatchOptimizedModel)
    return made


def _is_functional(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a model's arguments are its inputs and outputs."""
    return len(args) > 1 or "outputs" in kwargs


def _derive_from_functional(cls: type) -> None:
    """Put the functional class in place of `BatchOptimizedModel` among the bases of `cls`.

    A subclass that calls ``super().__init__(inputs, outputs)`` is a functional model;
    Keras would find that out itself, and rewrite `BatchOptimizedModel` for all.
    """
    if issubclass(cls, _functional_class()):
        return
    if BatchOptimizedModel in cls.__bases__:
        functional = _functional_class()
        cls.__bases__ = tuple(
            functional if base is BatchOptimizedModel else base for base in cls.__bases__
        )
        return
    for base in cls.__bases__:
        if issubclass(base, BatchOptimizedModel):
            _derive_from_functional(base)


def _resolve(optimizer: Any) -> Any:
    if isinstance(optimizer, (list, tuple)):
        return Chain(optimizer)
    if optimizer is None or isinstance(optimizer, (keras.optimizers.Optimizer, Mapping)):
        return optimizer
    if not isinstance(optimizer, str):
        message = (
            f"not an optimizer: {optimizer!r:.80}. Allowed are the name of a solver or of one of "
            "Keras's optimizers, an instance of either, and a chain of them. Pass one."
        )
        raise UnsupportedError(message)
    try:
        return keras.optimizers.get(optimizer)
    except (ValueError, KeyError, TypeError):
        pass  # not a name of Keras's
    return Chain(optimizer) if ">" in optimizer else get(optimizer)


def _requests(optimizer: Any) -> list[SolverRequest]:
    """List what is asked of each of kormos's solvers."""
    if isinstance(optimizer, BatchOptimizer):
        return [optimizer.request]
    stages = optimizer.stages if isinstance(optimizer, Chain) else ()
    return [stage.request for stage in stages if stage.is_batch]


def _refuse(given: Mapping[str, Any], optimizer: Any) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        message = (
            f"{', '.join(names)} cannot be honored by the optimizer "
            f"{type(optimizer).__name__}. Allowed with batch solvers. Compile the model with "
            "one, such as optimizer='scipy:l-bfgs-b'."
        )
        raise UnsupportedError(message)
