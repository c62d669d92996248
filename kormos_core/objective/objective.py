"""The whole training loss of a Keras model as a function of one flat vector.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); all float64.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.curvature import GAUSS_NEWTON, CheckedHVP, dense_hessian
from kormos_core.data import ArrayBatches
from kormos_core.errors import UnsupportedError
from kormos_core.objective.compiled import compile_on_graph
from kormos_core.objective.diagnose import blame_batch, blame_gradient
from kormos_core.objective.gauss_newton import check_convex
from kormos_core.objective.graph import Graph
from kormos_core.objective.kinds import kinds_of
from kormos_core.objective.numerics import Numerics
from kormos_core.objective.residuals import ResidualFace, Residuals, rows_of
from kormos_core.objective.rows import DENSE
from kormos_core.objective.source import graph_source
from kormos_core.objective.squares import check_squares, penalty_scale
from kormos_core.objective.sweep import Data, Inputs
from kormos_core.protocols import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    from kormos_core.data import Batch, Batches
    from kormos_core.objective.noise import FrozenNoise
    from kormos_core.objective.program import Program
    from kormos_core.objective.sweep import Sweep
    from kormos_core.protocols import Bounds

__all__ = ["ModelObjective"]


@final
class ModelObjective(ResidualFace):
    """Training loss of a compiled model over the whole data (`Objective`).

    Laws: batches of any size give the same value, gradient and product; the value is
    what `model.compute_loss` gives on one full batch; the same ``x`` gives the same
    bits, dropout included; the model's variables are never changed here.

    Parameters
    ----------
    program : Program
        The model's traced functions.
    batches : Batches
        The data.
    noise : FrozenNoise
        The fit's draw of noise.
    bounds : Bounds or None
        Box on the parameters.
    constraints : tuple
        General constraints in the solver library's form.
    numerics : Numerics or None
        How it is differentiated and compiled; None for the defaults.

    Raises
    ------
    UnsupportedError
        If the kind of Hessian product does not suit the model.
    """

    def __init__(
        self,
        program: Program,
        batches: Batches,
        noise: FrozenNoise,
        *,
        bounds: Bounds | None = None,
        constraints: tuple[Any, ...] = (),
        numerics: Numerics | None = None,
    ) -> None:
        self.program = program
        self._model = program.model  # a program that is kept from fit to fit keeps no model alive
        self.batches = batches
        self.noise = noise
        self.bounds = bounds
        self.constraints = constraints
        self.counts = Counts()
        self.size = program.layout.size
        self.dtype = program.layout.dtype
        self._totals: Any = None
        self._rows = DENSE
        self._penalty: NDArray[np.float64] | None = None
        self._resident = self._place()
        if program.plan.kind == "split":
            self._totals = self._count()
        self.numerics = numerics = numerics or Numerics()
        if numerics.hvp == GAUSS_NEWTON:
            check_convex(program.model)
        self._hvp = CheckedHVP(
            self._product,
            lambda x: self.value_and_grad(x)[1],
            gauss_newton=self._difference_product,
            kinds=kinds_of(numerics.hvp),
            dtype=numerics.precision,
            unusable=program.unusable_hvp,
        )

    @property
    def hvp_kind(self) -> str | None:
        """Kind of Hessian product in use; None before the first one."""
        return self._hvp.kind

    def value(self, x: NDArray[np.float64]) -> float:
        """Return the loss at ``x``, shape (n,); costs one forward sweep."""
        self.counts.value += 1
        if (resident := self._present()) is not None:
            return self.program.value(x, resident)
        return float(self._sweep(lambda inputs: self.program.value(x, inputs)))

    def value_and_grad(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        self.counts.value_and_grad += 1
        if (resident := self._present()) is not None:
            return self.program.value_and_grad(x, resident)

        def evaluate(inputs: Inputs) -> NDArray[np.float64]:
            f, g = self.program.value_and_grad(x, inputs)
            return np.append(g, f)

        both = self._sweep(evaluate)
        return float(both[-1]), both[:-1]

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,).

        Notes
        -----
        The first product at the first, second, fourth, eighth ... point is checked
        against a difference of gradients. Where it agrees that costs two evaluations,
        counted as such, and one product more than was asked for, which is not counted.
        """
        self.counts.hvp += 1
        return self._hvp(x, v)

    def choose_hvp(self, x: NDArray[np.float64]) -> str:
        """Check Hessian products at ``x``, (n,), and return the kind to use.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Returns
        -------
        str
            The kind that in-graph products will be of.
        """
        return self._hvp.choose(x)

    def compile(self, function: Callable[..., Any], key: Hashable) -> Callable[..., Any]:
        """Compile a traceable function of the objective and further tensors.

        Parameters
        ----------
        function : callable
            Takes a `GraphObjective` and structures of tensors; gives such structures.
        key : hashable
            What the function does: equal keys mean equal functions, so that what is
            compiled once serves in later fits, with other data.

        Returns
        -------
        callable
            The function of the tensors alone, arrays allowed.
        """
        sweep, data = self._graph_data
        return compile_on_graph(
            function,
            key=key,
            graph=Graph(
                size=self.size,
                precision=self.numerics.precision,
                batch=self.program,
                kind=self._hvp.current,
                sweep=sweep,
                data=data._replace(others=self.program.others()),
                mean=self.program.plan.kind == "mean",
                divisible=self.program.divisible,
                rows=self._rows,
                penalty=self._penalty,
            ),
            cache=self.program.compiled,
            jit=self._loop_jit,
            eager=self.program.settings.eager,
        )

    @cached_property
    def _loop_jit(self) -> bool | None:
        """Whether XLA is asked for in the graph (True), not wanted (False), or tried (None)."""
        # XLA reads no streams, and draws other random numbers from the same seeds.
        arrays = isinstance(self.batches, ArrayBatches)
        if self.numerics.jit and not (arrays or current_backend().needs_jit):
            message = (
                "jit_compile=True cannot be honored: XLA reads no streams, and the training data "
                "is one. Allowed are arrays. Leave jit_compile out, or pass arrays."
            )
            raise UnsupportedError(message)
        apt = arrays and not self.program.seeds
        return False if self.numerics.jit is None and not apt else self.numerics.jit

    @cached_property
    def _graph_data(self) -> tuple[Sweep, Data]:
        """The way through the data inside the graph, and the data."""
        sweep, source = graph_source(self.batches, self.program.faults)
        return sweep, Data(source, self.noise.for_batch(0), self._totals)

    def prepare_residuals(self, x: NDArray[np.float64]) -> None:
        """Get ready to evaluate residuals, and see at ``x``, (n,), that they are the loss.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Raises
        ------
        UnsupportedError
            If the loss is not a sum of squares.
        """
        self.check_squares(x, self.numerics.precision)
        self._rows = rows_of(self.program, next(iter(self.batches)), self._totals, x)

    @cached_property
    def _residuals(self) -> Residuals:
        check_squares(self.program.model)
        scale = penalty_scale(self.program.layout)
        self._penalty = scale if scale.any() else None
        return Residuals(
            self.program,
            self.inputs,
            self.size,
            penalty=self._penalty,
            counts=self.counts,
            mean=self.program.plan.kind == "mean",
            how=self.program.how,
        )

    def freeze_noise(self, noise: FrozenNoise) -> None:
        """Take another draw of noise, before anything is evaluated.

        Parameters
        ----------
        noise : FrozenNoise
            The draw that an earlier part of the same fit was computed with.
        """
        self.noise = noise
        self._resident = self._place()
        self.__dict__.pop("_graph_data", None)  # the cached property holds seeds

    def hessian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dense Hessian, shape (n, n), from n products."""
        return dense_hessian(self.hvp, x)

    def diagnose(self, x: NDArray[np.float64]) -> str:
        """Say where the loss or its gradient at ``x``, shape (n,), stops being finite.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            A point with a NaN or infinite loss or gradient.

        Returns
        -------
        str
            A phrase, or an empty string where nothing could be found.
        """
        for number, (_, inputs) in enumerate(self.inputs()):
            f, g = self.program.value_and_grad(x, inputs)
            if not np.isfinite(f):
                return blame_batch(self.program, x, inputs, number)
            if not np.isfinite(g).all():
                return (
                    blame_batch(self.program, x, inputs, number)
                    if not np.isfinite(x).all()
                    else blame_gradient(self.program, g)
                )
        return ""

    def inputs(self) -> Iterator[tuple[int, Inputs]]:
        """Go through the data once: number of samples and traced inputs of each batch."""
        batches, index = iter(self.batches), 0
        while (batch := next(batches, None)) is not None:
            num_samples, inputs = batch.num_samples, self._inputs(index, batch)
            del batch
            yield num_samples, inputs
            del inputs  # or it would stay while the next batch is read
            index += 1

    def _inputs(self, index: int, batch: Batch) -> Inputs:
        noise, others = self.noise.for_batch(index), self.program.others()
        return Inputs(batch.arrays, noise, self._totals, others)

    def _present(self) -> Inputs | None:
        """Return the single batch with what variables hold now, which callbacks may change."""
        if self._resident is None or not self._resident.others:
            return self._resident
        return self._resident._replace(others=self.program.others())

    def _place(self) -> Inputs | None:
        """Keep a single batch of arrays on the device, ready to use."""
        if not isinstance(self.batches, ArrayBatches) or self.batches.num_batches > 1:
            return None
        return self._inputs(0, next(iter(self.batches)))

    def _product(
        self, kind: str
    ) -> Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
        def product(x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
            function = self.program.hvp(kind)
            if (resident := self._present()) is not None:
                return function(x, v, resident)
            return np.asarray(self._sweep(lambda inputs: function(x, v, inputs)))

        return product

    def _difference_product(
        self, x: NDArray[np.float64], v: NDArray[np.float64], step: float
    ) -> NDArray[np.float64]:
        self.counts.value_and_grad += 1
        function = self.program.differences

        def part(inputs: Inputs) -> Any:
            return keras.ops.convert_to_numpy(function(x, (v, np.float64(step), inputs)))

        return np.asarray(self._sweep(part))

    def _sweep(self, evaluate: Callable[[Inputs], Any]) -> Any:
        """Add up the batches' parts, in order."""
        mean = self.program.plan.kind == "mean"
        total, samples = 0.0, 0
        for num_samples, inputs in self.inputs():
            part = evaluate(inputs)
            del inputs
            total = total + (num_samples * part if mean else part)
            samples += num_samples
        return total / samples if mean else total

    def _count(self) -> Any:
        """Sum the denominators of all batches, in one sweep."""
        x = self.program.layout.read()
        totals = self._sweep(
            lambda inputs: np.array(
                keras.ops.convert_to_numpy(self.program.denominators(x, inputs))
            )
        )
        return keras.ops.convert_to_tensor(totals, dtype="float64")
