"""NIST's certified regression problems: data, certified solutions, starting points.

The values stand in `nonlinear.json` and `linear.json` with every digit that NIST certifies.

References
----------
National Institute of Standards and Technology, Statistical Reference Datasets, Nonlinear
Regression and Linear Regression; public domain. doi:10.18434/T43G6C
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Regression", "linear", "nonlinear"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regression:
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
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    starts: NDArray[np.float64]
    parameters: NDArray[np.float64]
    deviations: NDArray[np.float64]
    rss: float
    residual_deviation: float
    degrees_of_freedom: int


def _load(kind: str) -> dict[str, Regression]:
    """Read the problems of a kind, ``"linear"`` or ``"nonlinear"``."""
    tables = json.loads(Path(__file__).with_name(f"{kind}.json").read_text("utf-8"))
    return {name: _problem(name, table) for name, table in tables.items()}


def _problem(name: str, table: Mapping[str, Any]) -> Regression:
    """Make one problem of its table, in which each predictor is a list."""
    x, y = np.array(table["x"], "float64").T, np.array(table["y"], "float64")[:, None]
    if "degree" in table:
        x = np.concatenate([x**power for power in range(1, table["degree"] + 1)], axis=1)
    if table["formula"].startswith("log[y]"):
        y = np.log(y)
    certified = np.array(table["parameters"], "float64")
    starts = np.array(table.get("starts", []), "float64").reshape(-1, len(certified))
    return Regression(
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


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array.flags.writeable = False
    return array


@functools.cache
def nonlinear() -> Mapping[str, Regression]:
    """Return the 27 nonlinear problems, by NIST's names."""
    return MappingProxyType(_load("nonlinear"))


@functools.cache
def linear() -> Mapping[str, Regression]:
    """Return the 11 linear problems, by NIST's names."""
    return MappingProxyType(_load("linear"))
