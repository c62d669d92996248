"""What a solver is, needs and supports: data with safe defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, final, get_args

__all__ = ["API_VERSION", "HVPSpec", "Kind", "Need", "ProblemSpec", "SolverSpec", "Support"]

API_VERSION = 1
"""Version of the plugin interface that this core speaks."""

Kind = Literal["batch", "least-squares", "global", "stochastic"]
Need = Literal["value", "grad", "hvp", "hessian", "residuals"]
Support = Literal["bounds", "constraints", "stop", "resume", "in-graph", "chunk"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SolverSpec:
    """One solver as its plugin declares it; what is not declared is not there.

    Attributes
    ----------
    name : str
        Method name within the plugin's namespace, in lower case: ``"l-bfgs-b"``.
    factory : str
        Where the solver's dataclass is: ``"package.module:Class"``; imported at first
        use, so that listing solvers stays cheap.
    summary : str
        One line: what the method is and when to use it.
    kind : {"batch", "least-squares", "global", "stochastic"}
        What class of problem it solves.
    needs : frozenset of {"value", "grad", "hvp", "hessian", "residuals"}
        What it evaluates.
    supports : frozenset of {"bounds", "constraints", "stop", "resume", "in-graph", "chunk"}
        What it honors.
    backends : frozenset of str
        Keras backends it runs on; empty means every one.
    dtypes : frozenset of str
        Parameter dtypes it is meant for.
    aliases : tuple of str
        Further names, without namespace, in any case.
    default : bool
        Whether the bare namespace means this solver.
    dense_matrices : int
        Number of n x n float64 matrices it keeps; 0 for solvers of linear memory.
    max_parameters : int or None
        Largest n it accepts, or None.
    tolerates_nonfinite : bool
        Whether it recovers by itself from a trial point with a NaN or infinite loss;
        otherwise such a point ends the solve.
    requires_bounds : bool
        Whether it searches a box: it needs finite bounds on every parameter.
    citation : str
        Source of the algorithm: authors, title, year, DOI.
    api_version : int
        Version of the plugin interface it was written for.
    """

    name: str
    factory: str
    summary: str = ""
    kind: Kind = "batch"
    needs: frozenset[Need] = frozenset({"value"})
    supports: frozenset[Support] = frozenset()
    backends: frozenset[str] = frozenset()
    dtypes: frozenset[str] = frozenset({"float64"})
    aliases: tuple[str, ...] = ()
    default: bool = False
    dense_matrices: int = 0
    max_parameters: int | None = None
    tolerates_nonfinite: bool = False
    requires_bounds: bool = False
    citation: str = ""
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        """Refuse a declaration that could not be honored."""
        _check_name("solver name", self.name)
        _check_case("solver name", self.name)
        if not isinstance(self.aliases, tuple):
            message = (
                f"aliases {self.aliases!r} of solver {self.name!r} are not usable. "
                "They are a tuple of strings."
            )
            raise TypeError(message)
        for alias in self.aliases:
            _check_name(f"alias of solver {self.name!r}:", alias)
        _check_factory(f"solver {self.name!r}", self.factory, "Class")
        if self.api_version > API_VERSION:
            return  # the words of a later interface are not for this one to judge
        _check_words("kind", {self.kind}, get_args(Kind), self.name)
        _check_words("needs", self.needs, get_args(Need), self.name)
        _check_words("supports", self.supports, get_args(Support), self.name)
        if self.requires_bounds and "bounds" not in self.supports:
            message = (
                f"solver {self.name!r} requires bounds that it does not support: supports "
                f"{sorted(self.supports)}. Add 'bounds' to supports."
            )
            raise ValueError(message)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HVPSpec:
    """One kind of Hessian product as its plugin declares it.

    Attributes
    ----------
    name : str
        Name within the plugin's namespace, in lower case; users write
        ``hvp="namespace:name"``.
    factory : str
        Where its function is: ``"package.module:function"``; imported at first use. It
        takes a traceable scalar function of ``x`` and a point ``x``, tensors of shape
        (n,), float64, and gives the traceable function from a direction ``v`` to the
        product ``hv``, of the same shape.
    summary : str
        One line: what the product is and when to use it.
    exact : bool
        Whether it is the Hessian's product, which is then checked against differences of
        the gradient; one that approximates it on purpose is taken as it is.
    api_version : int
        Version of the plugin interface it was written for.
    """

    name: str
    factory: str
    summary: str = ""
    exact: bool = True
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        """Refuse a declaration that could not be honored."""
        _check_name("name of a Hessian product", self.name)
        _check_case("name of a Hessian product", self.name)
        _check_factory(f"Hessian product {self.name!r}", self.factory, "function")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSpec:
    """One problem of the comparison as its plugin declares it.

    Attributes
    ----------
    name : str
        Name within the plugin's namespace, in lower case; users write
        ``kormos compare namespace:name``.
    factory : str
        Where its function is: ``"package.module:function"``; imported at first use. It takes
        the name and gives a `kormos_core.compare.Problem`, so that one function may make many.
    summary : str
        One line: data, model, loss.
    sets : tuple of str
        Names of the sets that it belongs to, in lower case; the first is the one it is at
        home in.
    api_version : int
        Version of the plugin interface it was written for.
    """

    name: str
    factory: str
    summary: str = ""
    sets: tuple[str, ...] = ()
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        """Refuse a declaration that could not be honored."""
        _check_name("name of a problem", self.name)
        _check_case("name of a problem", self.name)
        _check_factory(f"problem {self.name!r}", self.factory, "function")
        if not isinstance(self.sets, tuple):
            message = (
                f"sets {self.sets!r} of problem {self.name!r} are not usable. "
                "They are a tuple of strings."
            )
            raise TypeError(message)
        for name in self.sets:
            _check_name(f"set of problem {self.name!r}:", name)
            _check_case(f"set of problem {self.name!r}:", name)


def _check_case(what: str, name: str) -> None:
    if name != name.lower():
        message = f"{what} {name!r} is not usable. A name is in lower case."
        raise ValueError(message)


def _check_factory(whose: str, factory: str, what: str) -> None:
    if not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", factory):
        message = (
            f"factory {factory!r} of {whose} is not usable. "
            f"It has the form 'package.module:{what}'."
        )
        raise ValueError(message)


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[^\s:>,]+", name):
        message = (
            f"{what} {name!r} is not usable. "
            "It holds no blank, colon, comma or '>'; the namespace is the entry point's."
        )
        raise ValueError(message)


def _check_words(
    field: str, words: frozenset[str] | set[str], allowed: tuple[str, ...], solver: str
) -> None:
    unknown = sorted(set(words) - set(allowed))
    if unknown:
        message = f"unknown {field} {unknown} of solver {solver!r}. Allowed: {', '.join(allowed)}."
        raise ValueError(message)
