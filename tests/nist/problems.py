"""NIST's certified regression problems as models that batch solvers fit, in float64.

`NONLINEAR` has the 27 nonlinear problems, `LINEAR` the 11 linear ones, by NIST's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import kormos
from kormos_core.compare.nist import linear, nonlinear
from kormos_core.compare.nist.formulas import FORMULAS
from kormos_core.compare.nist.models import Formula

if TYPE_CHECKING:
    from kormos_core.compare.nist import Regression

__all__ = ["LINEAR", "NONLINEAR", "digits", "model_of", "parameters"]

MOST_DIGITS = 15.0  # what a float64 can agree in


def model_of(
    problem: Regression, start: Any, **compile_arguments: Any
) -> kormos.BatchOptimizedSequentialModel:
    """Make the model of a problem: one layer in float64, compiled with a squared loss.

    Parameters
    ----------
    problem : Regression
        One of `NONLINEAR` or `LINEAR`.
    start : array_like, shape (p,)
        Where the parameters start, in NIST's order.
    **compile_arguments : object
        As of `kormos.BatchOptimizedSequentialModel.compile`; they take precedence over
        ``optimizer="scipy:l-bfgs-b", loss="mse"``.

    Returns
    -------
    kormos.BatchOptimizedSequentialModel
        Made of a `Formula`, or of a `keras.layers.Dense` if the problem is linear.
    """
    num_columns, num_parameters = problem.x.shape[1], len(problem.parameters)
    if problem.name in FORMULAS:
        layer = Formula(FORMULAS[problem.name], num_parameters, dtype="float64")
    else:
        constant = num_parameters > num_columns
        layer = keras.layers.Dense(1, use_bias=constant, dtype="float64")
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((num_columns,), dtype="float64"), layer]
    )
    weights = np.asarray(start, "float64")
    if isinstance(layer, Formula):
        model.set_weights([weights])
    else:  # NIST's constant is the first parameter, Keras's bias the last weight
        kernel, bias = weights[-num_columns:, None], weights[:-num_columns]
        model.set_weights([kernel, bias] if layer.use_bias else [kernel])
    model.compile(**({"optimizer": "scipy:l-bfgs-b", "loss": "mse"} | compile_arguments))
    return model


def parameters(model: keras.Model) -> np.ndarray:
    """Read the parameters of a model that `model_of` made.

    Parameters
    ----------
    model : keras.Model
        As it is after a fit, for example.

    Returns
    -------
    ndarray, shape (p,), float64
        In NIST's order.
    """
    return np.concatenate([np.ravel(weight) for weight in reversed(model.get_weights())])


def digits(found: Any, certified: Any) -> np.ndarray:
    """Count the digits in which values agree with the certified ones.

    Parameters
    ----------
    found, certified : array_like, of one shape
        What was computed, and what is right.

    Returns
    -------
    ndarray, float64
        ``-log10(|found - certified| / |certified|)``, NIST's log relative error, without the
        division where `certified` is 0. At most 15; negative where the error is larger than
        the value; NaN where `found` is.
    """
    found, certified = np.asarray(found, "float64"), np.asarray(certified, "float64")
    size = np.where(certified == 0, 1.0, np.abs(certified))
    with np.errstate(divide="ignore"):  # no error at all is infinitely many digits
        return np.minimum(-np.log10(np.abs(found - certified) / size), MOST_DIGITS)


NONLINEAR = nonlinear()
LINEAR = linear()
