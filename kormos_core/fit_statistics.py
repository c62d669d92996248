"""What the residuals of a least-squares fit tell of its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FitStatistics"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FitStatistics:
    """What the residuals of a least-squares fit tell of its parameters.

    Attributes
    ----------
    factor : ndarray, shape (n, n), float64
        Triangular factor ``R`` of the Jacobian of the residuals, ``R' R == J' J``.
    sum_of_squares : float
        Of the residuals: twice the loss.
    num_observations : int
        Residuals whose weight is not 0.
    penalized : bool
        Whether the loss regularizes parameters.
    epsilon : float
        Relative rounding error of the residuals, which hides what parameters differ in.
    """

    factor: NDArray[np.float64]
    sum_of_squares: float
    num_observations: int
    penalized: bool = False
    epsilon: float = 2.220446049250313e-16

    @property
    def degrees_of_freedom(self) -> int:
        """Observations less parameters."""
        return self.num_observations - len(self.factor)

    def covariance(self) -> NDArray[np.float64]:
        """Return the covariance of the parameters.

        Returns
        -------
        ndarray, shape (n, n), float64
            ``s**2 (J' J)^-1`` with the residual variance
            ``s**2 = sum_of_squares / degrees_of_freedom``: that of a linear model whose
            observations have independent errors, of a variance that is the inverse of their
            weight times an unknown number.

        Raises
        ------
        UnsupportedError
            If there are no degrees of freedom, if parameters cannot be told apart by the
            data, or if the loss regularizes them.

        References
        ----------
        D. M. Bates, D. G. Watts, "Nonlinear Regression Analysis and Its Applications",
        Wiley, 1988, section 2.2, doi:10.1002/9780470316757.
        """
        import numpy as np

        self._check()
        # columns of one length, or small units would look like a lack of information
        lengths = np.sqrt(np.sum(np.square(self.factor), axis=0))
        _, values, basis = np.linalg.svd(self.factor / np.where(lengths > 0.0, lengths, 1.0))
        rank = int(np.sum(values > len(values) * self.epsilon * values[0]))
        if rank < len(values):
            message = (
                f"the covariance does not exist: the data tell {rank} of {len(values)} parameters "
                "apart. Allowed are models without redundant parameters. Leave some out, or "
                "freeze their layers."
            )
            raise UnsupportedError(message)
        root = (basis.T / values) / lengths[:, None]
        found: Any = root @ root.T
        return np.asarray(self.sum_of_squares / self.degrees_of_freedom * found)

    def standard_errors(self) -> NDArray[np.float64]:
        """Return the standard error of each parameter.

        Returns
        -------
        ndarray, shape (n,), float64
            Roots of the covariance's diagonal.

        Raises
        ------
        UnsupportedError
            As of `covariance`.
        """
        import numpy as np

        return np.sqrt(np.diag(self.covariance()))

    def _check(self) -> None:
        if self.penalized:
            message = (
                "the covariance is not that of least squares: the loss regularizes parameters, "
                "which biases them. Allowed are losses without. Fit without regularizers."
            )
            raise UnsupportedError(message)
        if self.degrees_of_freedom < 1:
            message = (
                f"the covariance does not exist: {self.num_observations} observations leave no "
                f"degree of freedom for {len(self.factor)} parameters. Allowed are more "
                "observations than parameters. Fit to more data."
            )
            raise UnsupportedError(message)
