"""Known minima are reached."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

import numpy as np

from kormos_core.testing.check import Check
from kormos_core.testing.law import demand
from kormos_core.testing.problem import BELOW_ZERO, QUADRATIC, ROSENBROCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.testing.case import Case
    from kormos_core.testing.trial import Trial

__all__ = ["COEFFICIENTS", "LEFT", "MINIMA", "logistic_reference"]

LEFT: Final = 1e-5
"""Part of the way down that default tolerances may leave."""

COEFFICIENTS: Final = (1.14875269, -0.79396645, 0.48394533)
"""Those of scikit-learn 1.9 for the logistic regression, where it is not installed."""

_LEFT_SINGLE: Final = 1e-4  # a loss in float32 has seven digits, the last two are rounding
_CLOSE: Final = 0.02  # of the coefficients: a loss flat to 1e-5 leaves them open to its root
_DO: Final = (
    "Look for the point where it ended: a tolerance that is too wide, a step that is not taken, "
    "or a result that is not the best accepted point."
)


def check_quadratic(case: Case) -> None:
    """Check that `case` reaches the minimum of a quadratic."""
    _reaches(case.quadratic, LEFT)


def check_rosenbrock(case: Case) -> None:
    """Check that `case` follows the bent valley of Rosenbrock's function to its end."""
    _reaches(case.whole, LEFT)


def check_below_zero(case: Case) -> None:
    """Check that `case` reaches a minimum that is below zero."""
    _reaches(case.solve(BELOW_ZERO), LEFT)


def check_float32(case: Case) -> None:
    """Check that `case` reaches minima of losses that are computed in float32."""
    for problem in (QUADRATIC, ROSENBROCK):
        _reaches(case.solve(problem, precision="float32"), _LEFT_SINGLE, " in float32")


def check_logistic_regression(case: Case) -> None:
    """Check that a model that `case` fits is scikit-learn's."""
    from kormos_core.testing.fitting import weights_of

    best = logistic_reference()

    result = case.fitting.fit().result

    w = weights_of(case.fitting.model)
    left = _logistic_loss(w) - _logistic_loss(best)
    left /= _logistic_loss(np.zeros(3)) - _logistic_loss(best)
    apart = float(np.linalg.norm(w - best) / np.linalg.norm(best))
    demand(
        left <= LEFT and apart <= _CLOSE,
        "Logistic regression with a penalty ends at the coefficients of scikit-learn.",
        seen=f"{w} in place of {best}, {left:.1e} of the way down is left ({result})",
        do=_DO,
    )


def check_exponential_curve(case: Case) -> None:
    """Check that `case` finds the curve that data lie on."""
    from kormos_core.testing.fitting import CURVE, weights_of

    result = case.fitting.fit().result

    w = weights_of(case.fitting.model)
    demand(
        np.abs(w - CURVE).max() <= 1e-3,
        "An exponential curve through data without noise has the coefficients of the data.",
        seen=f"{w} in place of {CURVE} ({result})",
        do=_DO,
    )


def logistic_reference() -> NDArray[np.float64]:
    """Return the coefficients of scikit-learn: fitted where it is installed, else stored.

    Returns
    -------
    ndarray, shape (3,), float64
        Two coefficients and the intercept.
    """
    from kormos_core.testing.fitting import PENALTY, logistic_data

    try:
        linear_model = importlib.import_module("sklearn.linear_model")
    except ModuleNotFoundError:
        return np.array(COEFFICIENTS)
    x, y = logistic_data()
    reference = linear_model.LogisticRegression(C=0.5 / (PENALTY * len(x)), tol=1e-10)
    reference.fit(x, y[:, 0])
    return np.append(reference.coef_, reference.intercept_)


def _reaches(trial: Trial, most: float, where: str = "") -> None:
    told = trial.result is not None and trial.left <= most
    seen = trial.summary
    if trial.result is not None:
        seen += f" at {trial.x}: {trial.left:.1e} of the way down is left, allowed is {most:.0e}"
    law = f"The minimum of {trial.problem.name}{where} is reached with default tolerances."
    demand(told, law, seen=seen, do=_DO)


def _logistic_loss(w: NDArray[np.float64]) -> float:
    from kormos_core.testing.fitting import PENALTY, logistic_data

    x, y = logistic_data()
    logits = x @ w[:2] + w[2]
    entropy = np.logaddexp(0.0, logits) - y[:, 0] * logits
    return float(entropy.mean() + PENALTY * (w[:2] @ w[:2]))


def _no_sum_of_squares(case: Case) -> str:
    return "it takes sums of squares, and this loss is none" if case.takes_residuals else ""


def _no_residuals(case: Case) -> str:
    return "" if case.takes_residuals else "it takes any loss, and logistic regression is one"


def _no_float32(case: Case) -> str:
    return "" if "float32" in case.spec.dtypes else "it does not declare float32"


MINIMA: Final = (
    Check(
        name="quadratic",
        law="The minimum of a convex quadratic is reached.",
        run=check_quadratic,
    ),
    Check(
        name="rosenbrock",
        law="The minimum of Rosenbrock's function is reached.",
        run=check_rosenbrock,
    ),
    Check(
        name="logistic_regression",
        law="Logistic regression ends at scikit-learn's coefficients.",
        run=check_logistic_regression,
        exception=_no_sum_of_squares,
    ),
    Check(
        name="exponential_curve",
        law="A curve's coefficients are found by least squares.",
        run=check_exponential_curve,
        exception=_no_residuals,
    ),
    Check(
        name="below_zero",
        law="A minimum below zero is reached: no tolerance takes the sign of the loss.",
        run=check_below_zero,
        exception=_no_sum_of_squares,
    ),
    Check(
        name="float32",
        law="Minima of losses in float32 are reached to their digits.",
        run=check_float32,
        exception=_no_float32,
    ),
)
"""Checks of minima."""
