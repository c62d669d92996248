"""NIST's certified regression problems, as small Keras models in float64.

`NONLINEAR` has the 27 nonlinear problems, `LINEAR` the 11 linear ones, by NIST's names. The
values stand in `nonlinear.json` and `linear.json` with every digit that NIST certifies.

References
----------
National Institute of Standards and Technology, Statistical Reference Datasets, Nonlinear
Regression and Linear Regression; public domain. doi:10.18434/T43G6C
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
from keras import ops
from nist.formulas import FORMULAS

import kormos

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LINEAR", "NONLINEAR", "Formula", "Problem", "digits", "model_of", "parameters"]

MOST_DIGITS = 15.0  # what a float64 can agree in


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """A regression problem with its certified solution; all arrays are float64, read-only.

    Attributes
    ----------
    name : str
        NIST's name.
    difficulty : {"lower", "average", "higher"}
        NIST's level of difficulty.
    formula : str
        The model in NIST's words; ``e`` is the error.
    x : ndarray, shape (n, k)
        What the model is given: the predictors, of a polynomial their powers 1, 2, ... k.
    y : ndarray, shape (n, 1)
        What the model is fitted to: the response, of Nelson its logarithm.
    starts : ndarray, shape (2, p)
        NIST's starting points, the far one and the near one; shape (0, p) if linear.
    parameters : ndarray, shape (p,)
        Certified least squares estimate, 11 digits; 15 if linear.
    deviations : ndarray, shape (p,)
        Certified standard deviations of the estimates.
    rss : float
        Certified residual sum of squares.
    residual_deviation : float
        Certified residual standard deviation: the root of `rss` over the degrees of freedom.
    degrees_of_freedom : int
        n - p. NIST's file of Rat43 says 9 and computes with 11, as here.
    """

    name: str
    difficulty: str
    formula: str
    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    parameters: np.ndarray
    deviations: np.ndarray
    rss: float
    residual_deviation: float
    degrees_of_freedom: int


class Formula(keras.layers.Layer):
    """A layer that computes one of the `FORMULAS` from its one weight.

    Parameters
    ----------
    formula : callable
        Takes k predictors, shape (n, 1), and p scalars; gives the response, shape (n, 1).
    num_parameters : int
        The p parameters are the weight ``b``, shape (p,), zeros at first.
    **options : object
        As of `keras.layers.Layer`.
    """

    def __init__(self, formula: Callable[..., Any], num_parameters: int, **options: Any) -> None:
        super().__init__(**options)
        self.formula = formula
        self.b = self.add_weight(shape=(num_parameters,), initializer="zeros", name="b")

    def call(self, inputs):
        """Compute the response, shape (n, 1), of the predictors `inputs`, shape (n, k)."""
        columns = ops.split(inputs, inputs.shape[-1], axis=-1)
        return self.formula(*columns, *ops.unstack(self.b))


def model_of(
    problem: Problem, start: Any, **compile_arguments: Any
) -> kormos.BatchOptimizedSequentialModel:
    """Make the model of a problem: one layer in float64, compiled with a squared loss.

    Parameters
    ----------
    problem : Problem
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


def _load(kind: str) -> dict[str, Problem]:
    """Read the problems of a kind, ``"linear"`` or ``"nonlinear"``."""
    tables = json.loads(Path(__file__).with_name(f"{kind}.json").read_text("utf-8"))
    return {name: _problem(name, table) for name, table in tables.items()}


def _problem(name: str, table: Mapping[str, Any]) -> Problem:
    """Make one problem of its table, in which each predictor is a list."""
    x, y = np.array(table["x"], "float64").T, np.array(table["y"], "float64")[:, None]
    if "degree" in table:
        x = np.concatenate([x**power for power in range(1, table["degree"] + 1)], axis=1)
    if table["formula"].startswith("log[y]"):
        y = np.log(y)
    certified = np.array(table["parameters"], "float64")
    starts = np.array(table.get("starts", []), "float64").reshape(-1, len(certified))
    return Problem(
        name=name,
        difficulty=table["difficulty"],
        formula=table["formula"],
        x=_frozen(x),
        y=_frozen(y),
        starts=_frozen(starts),
        parameters=_frozen(certified),
        deviations=_frozen(np.array(table["deviations"], "float64")),
        rss=float(table["rss"]),
        residual_deviation=float(table["residual_deviation"]),
        degrees_of_freedom=table["degrees_of_freedom"],
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


NONLINEAR = _load("nonlinear")
LINEAR = _load("linear")
