"""What a problem of the comparison is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, final

from kormos_core.errors import KormosError, NotCompiledError, UnsupportedError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["Data", "Instance", "Problem", "Recipe", "UnknownProblemError"]

_SEEDS_OF_STARTS = 1_000_003  # a prime: starts of one seed are not those of the next ones


class UnknownProblemError(KormosError, LookupError):
    """A problem name that the comparison does not have."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Samples to train on, and others to validate on where there are any.

    Attributes
    ----------
    x, y : ndarray, shape (samples, ...)
        Inputs and targets of the training.
    x_val, y_val : ndarray, shape (samples, ...), or None
        Inputs and targets of the validation.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    x_val: NDArray[Any] | None = None
    y_val: NDArray[Any] | None = None

    @property
    def num_validation_samples(self) -> int:
        """Number of samples to validate on."""
        return 0 if self.x_val is None else len(self.x_val)

    def cast(self, dtype: str) -> Data:
        """Return the same data, its floating arrays in a dtype.

        Parameters
        ----------
        dtype : str
            ``"float32"`` or ``"float64"``.

        Returns
        -------
        Data
            Arrays of whole numbers, such as classes, stay as they are.
        """
        return Data(
            x=_cast(self.x, dtype),
            y=_cast(self.y, dtype),
            x_val=None if self.x_val is None else _cast(self.x_val, dtype),
            y_val=None if self.y_val is None else _cast(self.y_val, dtype),
        )


class Recipe(Protocol):
    """How the parts of a problem are made; nothing is imported or read before that."""

    def load(self) -> Data:
        """Return the data, the same at every call."""
        ...

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new model, built but not compiled.

        Parameters
        ----------
        dtype : str
            Dtype of its parameters.
        start : int
            Number of the starting point that its weights are at. Where weights are drawn, it may
            be left out of account: whoever calls has seeded Keras by it.

        Returns
        -------
        keras.Model
            The model.
        """
        ...

    def loss(self) -> keras.losses.Loss | None:
        """Return a new loss; None where the model brings it: compiled, or by `compute_loss`."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One model with its data, for solvers to be compared on.

    Attributes
    ----------
    name : str
        What a user calls it.
    summary : str
        One line: data, model, loss, penalty.
    recipe : Recipe
        What makes data, model and loss.
    metric : str or None
        Keras's name of the validation metric; None where there is none.
    metric_label : str
        The metric in a word.
    metric_threshold : float or None
        Output above which a class is meant, for ``"binary_accuracy"``: 0.0 for logits.
    sets : tuple of str
        Sets that it belongs to; the first is the one it is at home in.
    f_min : float or None
        The least loss, where it is known.
    num_starts : int or None
        Number of starting points; None where they are drawn, as many as one likes.
    """

    name: str
    summary: str
    recipe: Recipe
    metric: str | None = None
    metric_label: str = ""
    metric_threshold: float | None = None
    sets: tuple[str, ...] = ()
    f_min: float | None = None
    num_starts: int | None = None

    def renamed(self, name: str, sets: tuple[str, ...]) -> Problem:
        """Return the same problem under another name.

        Parameters
        ----------
        name : str
            The name.
        sets : tuple of str
            The sets.

        Returns
        -------
        Problem
            The same but for them.
        """
        return replace(self, name=name, sets=sets)

    def measure_metric(self, model: keras.Model, data: Data) -> float | None:
        """Return the metric on the validation data.

        Parameters
        ----------
        model : keras.Model
            One of the problem's models.
        data : Data
            In the model's dtype.

        Returns
        -------
        float or None
            The metric; None where the problem has none, or no such data.
        """
        import keras

        if self.metric is None or data.x_val is None:
            return None
        metric = keras.metrics.get(self.metric)
        if self.metric_threshold is not None:
            metric = keras.metrics.BinaryAccuracy(threshold=self.metric_threshold)
        metric.update_state(data.y_val, model(data.x_val, training=False))
        return float(metric.result())

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compile one of the problem's models, without metrics, whose cost is nobody's.

        Parameters
        ----------
        model : keras.Model
            What `Recipe.build` made.
        optimizer : keras.optimizers.Optimizer
            What it is compiled with.

        Raises
        ------
        NotCompiledError
            If nothing says what its loss is.
        """
        loss = self.recipe.loss()
        if loss is not None:
            model.compile(optimizer=optimizer, loss=loss)
            return
        if not model.compiled:
            message = (
                f"the model of problem {self.name!r} has no loss: it is not compiled. Allowed is "
                "a compiled model. Call model.compile(loss=...) before returning it."
            )
            raise NotCompiledError(message)
        model.compile(
            optimizer=optimizer,
            loss=model.loss,
            loss_weights=(model.get_compile_config() or {}).get("loss_weights"),
            run_eagerly=model.run_eagerly,
            jit_compile=model.jit_compile,
        )

    def make(self, *, seed: int, start: int, dtype: str) -> Instance:
        """Load the data and draw the initial weights.

        Parameters
        ----------
        seed : int
            Seed of all that is drawn.
        start : int
            Number of the starting point, from 0.
        dtype : {"float32", "float64"}
            Dtype of parameters and data; Keras's `floatx` should be the same.

        Returns
        -------
        Instance
            The same at every call.

        Raises
        ------
        UnsupportedError
            If there is no start of that number.
        """
        import keras

        if self.num_starts is not None and start >= self.num_starts:
            message = (
                f"problem {self.name!r} has no start number {start}. Allowed are 0 to "
                f"{self.num_starts - 1}. Ask for fewer starts."
            )
            raise UnsupportedError(message)
        data = self.recipe.load().cast(dtype)
        keras.utils.set_random_seed((seed + _SEEDS_OF_STARTS * start) % 2**32)
        return Instance(problem=self, data=data, model=self.recipe.build(dtype, start))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A problem with its data loaded and its weights at a start.

    Attributes
    ----------
    problem : Problem
        The problem.
    data : Data
        Its data.
    model : keras.Model
        Its model, built; `Problem.compile` compiles it.
    """

    problem: Problem
    data: Data
    model: keras.Model


def _cast(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    import numpy as np

    return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array
