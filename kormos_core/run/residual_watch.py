"""Residuals and products with their Jacobian, under watch.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``J`` their Jacobian (m, n).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.result import FitStatistics

__all__ = ["ResidualWatch"]


class ResidualWatch:
    """What a run shows a least-squares solver (`kormos_core.LeastSquaresObjective`)."""

    @property
    def _squares(self) -> Any:
        raise NotImplementedError

    _seen: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def _remember(self, x: NDArray[np.float64], f: float, g: NDArray[np.float64] | None) -> None:
        raise NotImplementedError

    @property
    def _minimizes_squares(self) -> bool:
        """Whether the loss is half the sum of squares, and no robust function of residuals."""
        return hasattr(self._squares, "fit_statistics")

    @property
    def _takes_residuals(self) -> bool:
        raise NotImplementedError

    def _gate(self) -> None:
        raise NotImplementedError

    def _check_finite(self, what: str, x: NDArray[np.float64], *, finite: bool) -> None:
        raise NotImplementedError

    @property
    def num_residuals(self) -> int:
        """Number of residuals m."""
        return int(self._squares.num_residuals)

    def residual_scale(self) -> NDArray[np.float64]:
        """Return what raw residuals are multiplied by, shape (m,)."""
        return np.asarray(self._squares.residual_scale())

    def residuals(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the residuals, shape (m,), at ``x``, shape (n,)."""
        self._gate()
        r = np.asarray(self._squares.residuals(x))
        self._check_finite("a residual is not finite", x, finite=bool(np.isfinite(r).all()))
        if self._minimizes_squares:
            self._seen = np.array(x), r
            self._remember(x, 0.5 * float(r @ r), None)
        return r

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Jacobian, shape (m, n), at ``x``, shape (n,)."""
        rows = self._product("a derivative of a residual is not finite", x, "jacobian")
        if self._seen is not None and np.array_equal(self._seen[0], x):
            r = self._seen[1]
            self._remember(x, 0.5 * float(r @ r), rows.T @ r)  # loss and gradient come with them
        return rows

    def jvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x) v``, shape (m,)."""
        return self._product("a product with the Jacobian is not finite", x, "jvp", v)

    def vjp(self, x: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x)' u``, shape (n,)."""
        return self._product("a product with the Jacobian is not finite", x, "vjp", u)

    def ggn_vp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``J(x)' J(x) v``, shape (n,)."""
        return self._product("a Gauss-Newton product is not finite", x, "ggn_vp", v)

    def _product(
        self, what: str, x: NDArray[np.float64], name: str, *arguments: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        self._gate()
        found = np.asarray(getattr(self._squares, name)(x, *arguments))
        self._check_finite(what, x, finite=bool(np.isfinite(found).all()))
        return found

    def _statistics(self, x: NDArray[np.float64]) -> FitStatistics | None:
        """Return what the residuals tell at the best point, of what has and measures them."""
        make = getattr(self._squares, "fit_statistics", None)
        if make is None or not self._takes_residuals:
            return None
        found: FitStatistics | None = make(x)
        if found is None:
            return None
        finite = np.isfinite(found.sum_of_squares) and np.isfinite(found.factor).all()
        return found if finite else None
