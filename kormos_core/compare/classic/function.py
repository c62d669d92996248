"""What a classical test function is made of.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``f`` their sum of squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ClassicFunction", "constant"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicFunction:
    """A sum of squares to minimize, from its standard start.

    An instance is a function that `kormos.minimize` takes.

    Attributes
    ----------
    name : str
        The name in the paper; with n where there is more than one.
    number : int
        The number in the paper, 1 to 35.
    residuals : callable
        Takes a float64 tensor of shape (n,) and gives one of shape (m,); written in
        `keras.ops`, and twice differentiable where solvers go.
    x0 : tuple of float
        The standard start, n numbers.
    minima : tuple of float
        Values of the sum of squares at the published minima, ascending.

    Notes
    -----
    The paper gives six digits of minima that are not 0; here are thirteen, computed from the
    definitions in extended precision. Not all are minima of the strict kind. The second of
    Bard's and of Kowalik and Osborne's function lie at infinity: the sum of squares comes as
    close to them as one likes. The second of Biggs's function is a saddle, and so is that of
    Brown's almost-linear one.

    References
    ----------
    J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing Unconstrained Optimization Software",
    ACM Trans. Math. Softw. 7(1), 1981, section 3, doi:10.1145/355934.355936.
    """

    name: str
    number: int
    residuals: Callable[[Any], Any]
    x0: tuple[float, ...]
    minima: tuple[float, ...]

    @property
    def size(self) -> int:
        """Number of parameters n."""
        return len(self.x0)

    def __call__(self, x: Any) -> Any:
        """Return the sum of squares at `x`, a float64 tensor of shape (n,), as a scalar."""
        return ops.sum(ops.square(self.residuals(x)))


def constant(values: Any) -> Any:
    """Return `values`, numbers or rows of numbers, as a float64 tensor."""
    return ops.convert_to_tensor(values, dtype="float64")
