"""Several optimizers, one after the other, where Keras wants one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

from kormos_core.errors import UnknownSolverError, UnsupportedError
from kormos_core.optimizer import get, plain, plain_bounds
from kormos_core.stage import Place, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

    from kormos_core.result import Result

__all__ = ["Chain", "Place", "Stage"]

_SEPARATOR: Final = ">"
_PYTHON: Final = ("callbacks", "pretrain_fn", "constraints")  # what no file can keep


@final
@keras.saving.register_keras_serializable(package="kormos")
class Chain(keras.optimizers.Optimizer):
    """Fit by one optimizer after the other, each from where the one before ended.

    Where Keras's minibatch steps are quick at first and a solver of kormos is exact at the
    end, the chain is a good optimizer; so is a robust solver before a quick one.

    Parameters
    ----------
    stages : str, or sequence
        Names joined by ``">"``, such as ``"adam>scipy:l-bfgs-b"``; or a sequence of stages,
        each a name, a Keras optimizer, a `kormos.BatchOptimizer`, or a pair of one of them
        and a mapping of arguments: ``epochs``, ``batch_size``, ``callbacks`` and
        ``pretrain_fn``; for Keras's optimizers ``shuffle``; for solvers ``options``,
        ``bounds``, ``constraints`` and ``tol``.
    name : str or None
        Keras's name of the optimizer.

    Attributes
    ----------
    stages : tuple of Stage
        The stages.
    place : Place or None
        How far the latest fit has come; None before the first. Model files keep it, and
        what each stage goes on from.
    results : list of Result or None
        What each stage of the latest fit ended with; None for Keras's optimizers.

    Raises
    ------
    UnknownSolverError
        If neither Keras nor an installed plugin knows a name.
    OptionError
        If a stage cannot honor an argument.

    Notes
    -----
    Keras's optimizers need ``epochs``, here or in `fit`; a solver without runs until it
    converges. Callbacks of `fit` see one training of all stages, and their stop ends it;
    the callbacks of a stage see it alone, and their stop hands over to the next stage.

    Examples
    --------
    >>> import kormos
    >>> chain = kormos.Chain([("adam", {"epochs": 200, "batch_size": 32}), "native:newton-cg"])
    >>> [stage.name for stage in chain.stages]
    ['adam', 'native:newton-cg']
    """

    def __init__(self, stages: Any, *, name: str | None = None) -> None:
        made = tuple(_stage(part) for part in _parts(stages))
        if not made:
            message = "a chain of no stages. Allowed is one or more. Name an optimizer."
            raise UnsupportedError(message)
        super().__init__(learning_rate=1.0, name=name or "chain")
        self._made = (made,)  # in a tuple, which Keras does not track
        self._place: tuple[Place, ...] = ()
        self._results: tuple[Result | None, ...] = ()
        self._loaded = self._steps = False
        self._known: Mapping[int, frozenset[int]] = MappingProxyType({})  # ids, by stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages."""
        return self._made[0]

    @property
    def place(self) -> Place | None:
        """How far the latest fit has come."""
        return self._place[0] if self._place else None

    @property
    def results(self) -> list[Result | None]:
        """What each stage of the latest fit ended with."""
        return list(self._results)

    def move_to(self, place: Place) -> None:
        """Take note of how far a fit has come: at `place`."""
        self._place = (place,)

    def add_result(self, result: Result | None) -> None:
        """Keep the `result` of the stage at work, in its place; None for one not known."""
        number = self.place.stage if self.place is not None else 0
        before = (*self._results, *(None,) * number)[:number]
        self._results = (*before, result)

    def take_loaded(self) -> bool:
        """Tell whether a place was loaded since this was last asked."""
        loaded, self._loaded = self._loaded, False
        return loaded

    @contextmanager
    def stepping(self, variables: Any) -> Iterator[None]:
        """Let the stage at work take Keras's steps of `variables` for a while.

        Parameters
        ----------
        variables : list of keras.Variable
            Trainable variables of the model.

        Yields
        ------
        None
            While it does.

        Raises
        ------
        UnsupportedError
            If its optimizer has made steps of other variables.
        """
        assert self.place is not None  # noqa: S101 - a fit has moved the chain to a stage
        self._know(self.place.stage, variables)
        self._steps = True
        try:
            yield
        finally:
            self._steps = False

    def _know(self, number: int, variables: Any) -> None:
        """See to it that a stage's optimizer was made for `variables`: one may be unfrozen."""
        known, stage = self._known.get(number), self.stages[number]
        unknown = [one for one in variables if known is not None and id(one) not in known]
        if not unknown:
            return
        if int(stage.optimizer.iterations):
            message = (
                f"the optimizer of the stage {stage.name!r} has made steps of other variables, "
                f"and keeps nothing for {unknown[0].path!r}. Allowed are those that it began "
                "with. Make a new chain: one for each model, and for what was frozen before."
            )
            raise UnsupportedError(message)
        fresh = type(stage.optimizer).from_config(stage.optimizer.get_config())
        made = list(self.stages)
        made[number] = replace(stage, optimizer=fresh)
        self._made = (tuple(made),)
        self.build(variables)

    @property
    def _stepping(self) -> keras.optimizers.Optimizer:
        """The Keras optimizer at work: it makes the steps that Keras asks of the chain."""
        if self._steps and self.place is not None:
            return self.stages[self.place.stage].optimizer
        message = (
            f"no stage of {self.name!r} takes minibatch steps now. Allowed are kormos.fit(model, "
            "...) and the fit of a kormos.BatchOptimizedModel. Use one of them."
        )
        raise UnsupportedError(message)

    def build(self, variables: Any) -> None:
        """Make the variables of each stage's optimizer for the model's `variables`."""
        for number, stage in enumerate(self.stages):
            if not stage.optimizer.built:
                stage.optimizer.build(variables)
                if not stage.is_batch:
                    ids = frozenset(id(one) for one in variables)
                    self._known = MappingProxyType({**self._known, number: ids})
        if not self.built:
            super().build(variables)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Step `trainable_variables` by `grads`, as the stage's optimizer does."""
        self._stepping.apply(grads, trainable_variables)

    def scale_loss(self, loss: Any) -> Any:
        """Scale the `loss` as the stage's optimizer does."""
        return self._stepping.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        """End the stage as its optimizer does, for the variables of `var_list`."""
        self._stepping.finalize_variable_values(var_list)

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables of the optimizer at work."""
        own = super().variables
        return list(self._stepping.variables) if self._steps else list(own)

    @property
    def iterations(self) -> Any:
        """Number of steps of the optimizer at work."""
        return self._stepping.iterations if self._steps else super().iterations

    @property
    def learning_rate(self) -> Any:
        """Learning rate of the optimizer at work."""
        return self._stepping.learning_rate if self._steps else super().learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self._stepping.learning_rate = learning_rate

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write how far the chain has come, and what each stage keeps.

        Parameters
        ----------
        store : mutable mapping of str to ndarray
            The optimizer's place in a model file.
        """
        if self.place is not None:
            place = (self.place.stage, self.place.first, self.place.following)
            store["place"] = np.array(place, np.int64)
        for number, stage in enumerate(self.stages):
            arrays: dict[str, Any] = {}
            stage.optimizer.save_own_variables(arrays)
            for name, array in arrays.items():
                store[f"stage{number}_{name}"] = array

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read what `save_own_variables` wrote.

        Parameters
        ----------
        store : mapping of str to ndarray
            The optimizer's place in a model file.
        """
        arrays = {name: np.asarray(store[name]) for name in store.keys()}  # noqa: SIM118 - Keras's store is no whole mapping
        for number, stage in enumerate(self.stages):
            prefix = f"stage{number}_"
            own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
            stage.optimizer.load_own_variables(own)
        self._loaded = "place" in arrays
        self._place = (
            (Place(*(int(number) for number in arrays["place"])),) if self._loaded else ()
        )

    def get_config(self) -> dict[str, Any]:
        """Return what `.keras` files keep.

        Returns
        -------
        dict
            Arguments for the constructor, of JSON's types.

        Raises
        ------
        UnsupportedError
            If a stage has callbacks, constraints or a `pretrain_fn`: Python objects.
        """
        stages = []
        for stage in self.stages:
            kept = [name for name in _PYTHON if stage.arguments.get(name) is not None]
            if kept:
                message = (
                    f"{kept[0]} of the stage {stage.name!r} is a Python object that a saved model "
                    "cannot keep. Allowed are numbers, strings and options. Compile without it "
                    "before saving."
                )
                raise UnsupportedError(message)
            optimizer = keras.saving.serialize_keras_object(stage.optimizer)
            arguments = {
                name: plain_bounds(value) if name == "bounds" else plain(value)
                for name, value in stage.arguments.items()
            }
            stages.append([optimizer, arguments])
        return {"stages": stages, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Chain:
        """Make a chain from what `get_config` gave, with `custom_objects` of the user's."""
        load = keras.saving.deserialize_keras_object
        stages = [
            (load(optimizer, custom_objects=custom_objects), load(arguments))
            for optimizer, arguments in config["stages"]
        ]
        return cls(stages, name=config["name"])


def _parts(stages: Any) -> Sequence[Any]:
    if isinstance(stages, str):
        return [part.strip() for part in stages.split(_SEPARATOR)]
    if isinstance(stages, Iterable) and not isinstance(stages, Mapping):
        return list(stages)
    message = (
        f"not the stages of a chain: {stages!r:.80}. Allowed are names joined by '>' and a "
        "sequence of stages. Pass one of them."
    )
    raise UnsupportedError(message)


def _stage(part: Any) -> Stage:
    if isinstance(part, (tuple, list)):
        if len(part) != 2 or not isinstance(part[1], Mapping):
            message = (
                f"not a stage of a chain: {part!r:.120}. Allowed are an optimizer, and a pair of "
                "an optimizer and a mapping of arguments. Pass one of them."
            )
            raise UnsupportedError(message)
        return Stage(_optimizer(part[0]), dict(part[1]))
    return Stage(_optimizer(part))


def _optimizer(named: Any) -> keras.optimizers.Optimizer:
    if isinstance(named, Chain):
        message = (
            "a chain within a chain. Allowed are single optimizers. Put its stages in its place."
        )
        raise UnsupportedError(message)
    if isinstance(named, keras.optimizers.Optimizer):
        return named
    if isinstance(named, str) and named:
        try:
            return keras.optimizers.get(named)
        except (ValueError, KeyError, TypeError):
            pass  # not a name of Keras's
        return get(named)
    if named == "":
        message = (
            "a stage without a name in a chain. Allowed are names joined by '>', such as "
            "'adam>scipy:l-bfgs-b'. Write one on both sides."
        )
        raise UnknownSolverError(message)
    return get(named)
