"""What a backend must offer: devices, compilation, derivatives, streams.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); flat float64 tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["Backend", "BatchFunction", "Forward", "Linearize", "Product"]

Product: TypeAlias = Callable[[Any], Any]
"""Traceable: ``v`` to ``hv``, at one point."""

Linearize: TypeAlias = Callable[[Callable[[Any], Any], Any], Product]
"""Traceable: a scalar function of ``x`` and a point to the product there.

What does not depend on the direction is computed before the product is returned, so that
many products at one point share it."""

Forward: TypeAlias = Callable[[Any], tuple[list[Any], Callable[[], Any]]]
"""Traceable: ``x`` to a model's outputs and the function that makes their scalar loss."""


class BatchFunction(Protocol):
    """A traceable scalar loss of flat parameters and one batch."""

    def __call__(self, x: Any, batch: Any, /) -> Any:
        """Return the scalar float64 loss tensor for `x`, shape (n,), and one batch."""
        ...


class Backend(Protocol):
    """Compilation and derivatives on one Keras backend.

    A batch is a structure of tensors (None leaves allowed) that is passed through.
    What `compile_*` returns takes NumPy parameters and gives NumPy results.

    Attributes
    ----------
    name : str
        Keras's name of the backend.
    hvp_kinds : mapping of str to Linearize
        Exact Hessian products by automatic differentiation, the best first.
    jit_errors : tuple of exception types
        What XLA raises where it cannot compile a function.
    needs_jit : bool
        Whether nothing but XLA compiles: what is not to be compiled by it runs uncompiled.
    keeps_variables : bool
        Whether a compiled function keeps the values that variables had when it was traced,
        unless they are passed to it.
    rounds_float64 : bool
        Whether Keras rounds float64 to float32 there, unless `keep_float64` is asked for.
    ops : namespace
        The functions of `keras.ops` that loops are made of: Keras's own where loops are
        compiled, and otherwise such that do no more than what is asked, which takes a
        fraction of the time.
    compiles_loops : bool
        Whether XLA compiles a loop whose length depends on values.
    """

    name: str
    hvp_kinds: Mapping[str, Linearize]
    jit_errors: tuple[type[Exception], ...]
    needs_jit: bool
    keeps_variables: bool
    rounds_float64: bool
    ops: Any
    compiles_loops: bool

    @property
    def has_accelerator(self) -> bool:
        """Whether there is a device other than CPUs."""
        ...

    def to_device(self, array: Any) -> Any:
        """Put `array` on the device as a tensor of the same dtype."""
        ...

    def to_host(self, tensor: Any) -> NDArray[Any]:
        """Copy a `tensor` into an array of its own."""
        ...

    def computing_in(self, dtype: str) -> AbstractContextManager[None]:
        """Enter a scope where `keras.ops` round float64 tensors to nothing less.

        What was compiled is in the scope of ``"float64"`` from the outset.

        Parameters
        ----------
        dtype : str
            The narrowest dtype that is wanted; the scope is for ``"float64"``, and any other
            one suspends it.

        Returns
        -------
        context manager
            The scope.
        """
        ...

    def seeded(self, seeds: tuple[Any, ...]) -> AbstractContextManager[None]:
        """Enter a scope where noise is a function of seeds alone.

        Parameters
        ----------
        seeds : tuple of tensor, shape (2,)
            States of the seed generators, which the model has been given already.

        Returns
        -------
        context manager
            The scope; without seeds nothing is drawn.
        """
        ...

    def compile(
        self,
        function: Callable[..., Any],
        *,
        jit: bool,
        eager: bool,
        keep_float64: bool = False,
        uses_keras: bool = True,
        relax: bool = False,
    ) -> Callable[..., Any]:
        """Compile a function of structures of tensors.

        Parameters
        ----------
        function : callable
            The function.
        jit : bool
            Whether XLA compiles it.
        eager : bool
            Whether nothing does.
        keep_float64 : bool
            Whether what Keras rounds to float32 on the way is to be computed in float64, where
            the backend can tell.
        uses_keras : bool
            False says that `function` calls `ops` alone, or enters `computing_in` before it
            calls `keras.ops`.
        relax : bool
            Whether one trace may serve batches of several lengths, where there is a choice.

        Returns
        -------
        callable
            The function.
        """
        ...

    def value_and_grad(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """Return a scalar `function` at `x` and its gradient; traceable."""
        ...

    def gauss_newton(self, forward: Forward, x: Any) -> Product:
        """Return the generalized Gauss-Newton product of `forward` at `x`; traceable."""
        ...

    def loss_slopes(self, outputs: list[Any], head: Callable[[], Any]) -> tuple[list[Any], Any]:
        """Return the slopes of a loss by its outputs, and their product with directions.

        Parameters
        ----------
        outputs : list of tensor
            What the loss is made of.
        head : callable
            Makes the scalar loss of them; traceable.

        Returns
        -------
        tuple of (list of tensor, callable)
            The first derivatives, of the outputs' shapes; and the function from a list of
            such tensors to the product of the second derivatives with it.
        """
        ...

    def vjp(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
        """Return a flat `function` at `x`, (m,), and the product ``u`` to ``J' u``; traceable."""
        ...

    def jvp(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
        """Return a flat `function` at `x`, (m,), and the product ``v`` to ``J v``; traceable."""
        ...

    def has_loops(self, function: Callable[[Any], Any], x: Any) -> bool:
        """Tell whether a traceable `function` of `x` loops, so that it takes one row at a time.

        Parameters
        ----------
        function : callable
            Of a tensor such as `x`.
        x : tensor
            What it takes.

        Returns
        -------
        bool
            Whether its derivatives fail in `map_rows`, or may do so.
        """
        ...

    def map_rows(
        self, function: Callable[[Any], Any], rows: Any, *, one_by_one: bool = False
    ) -> Any:
        """Apply a function to each row.

        Parameters
        ----------
        function : callable
            From a row to a float64 tensor; traceable.
        rows : structure of tensor
            Tensors of one length.
        one_by_one : bool
            Whether rows are taken one after the other, and not all at once.

        Returns
        -------
        tensor
            What it gives, row by row.
        """
        ...

    def push_forward(self, forward: Forward, x: Any, v: Any, step: Any) -> Any:
        """Return the same product, its Jacobian by a difference of `step` along `v`."""
        ...

    def stream(
        self, source: Any, batches: Callable[[], Iterable[Any]], take: Callable[[Any], Any]
    ) -> Any:
        """Make what `reduce_stream` can read within a compiled function.

        Parameters
        ----------
        source : object
            The user's own data, which the backend may be able to read in the graph.
        batches : callable
            Otherwise gives an iterator of tuples of tensors, one for each batch.
        take : callable
            Makes such a tuple of an item of `source`; traceable.

        Returns
        -------
        object
            The stream.
        """
        ...

    def reduce_stream(self, stream: Any, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold over a stream within a compiled function.

        One batch is done with before the next is read: memory is that of one.

        Parameters
        ----------
        stream : object
            What `stream` made.
        initial : structure of tensor
            The state before the first batch.
        function : callable
            ``state = function(state, batch)``; traceable.

        Returns
        -------
        structure of tensor
            The state after the last batch.
        """
        ...

    def reduce_range(self, count: int, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold over the numbers 0 to `count` - 1 within a compiled function.

        One number is done with before the next begins, as in `reduce_stream`.

        Parameters
        ----------
        count : int
            How many numbers there are.
        initial : structure of tensor
            The state before the first.
        function : callable
            ``state = function(state, number)`` with an int32 scalar, or an int where the
            loop is Python's; traceable.

        Returns
        -------
        structure of tensor
            The state after the last.
        """
        ...
