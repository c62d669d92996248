"""The local searches of global optimizers: one of `scipy.optimize.minimize`, by its name.

Symbols: ``x`` parameters (n,), ``z`` those that bounds do not fix (m,); all float64.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import scipy.optimize

from kormos_core.errors import UnsupportedError
from kormos_core.options import Rule, whole
from kormos_scipy.methods import METHODS
from kormos_scipy.request import check_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_scipy.methods import Method
    from kormos_scipy.samples import Samples
    from kormos_scipy.space import Space

__all__ = ["BOUNDED", "LOCAL", "OPTIONS", "LocalSearch", "freeze_options"]

LOCAL: Final = tuple(
    name
    for name, method in METHODS.items()
    if not method.spec.needs & {"hvp", "hessian"}  # what a global solver declares is fixed
)
"""Names of the methods for local searches."""

BOUNDED: Final = tuple(name for name in LOCAL if "bounds" in METHODS[name].spec.supports)
"""Those of them that keep bounds."""

_MAXITER: Final = whole(1)


def _are_options(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, (Mapping, tuple)):
        return False
    try:
        return all(isinstance(name, str) for name in dict(value))
    except (TypeError, ValueError):
        return False


OPTIONS: Final = Rule("a mapping of the local method's options, or None", _are_options)
"""What `local_options` may be."""


def freeze_options(solver: Any) -> None:
    """Refuse local options that the local method does not take; keep them as pairs.

    Pairs keep a solver hashable.

    Parameters
    ----------
    solver : dataclass instance
        The solver; its fields ``local_method`` and ``local_options`` are checked.

    Raises
    ------
    UnsupportedError
        When the local method does not take them, or there is none.
    """
    if solver.local_options is None:
        return
    given = dict(solver.local_options)
    if solver.local_method is None:
        raise UnsupportedError(
            f"option local_options={given!r} of {type(solver).__name__} is for a local method, "
            "and local_method is None. Leave it out, or name one."
        )
    _make(solver.local_method, given)
    object.__setattr__(solver, "local_options", tuple(sorted(given.items())))


def _make(name: str, given: Mapping[str, Any]) -> Any:
    """Make the solver of a local method, which checks its options."""
    module, cls = METHODS[name].spec.factory.split(":")
    solver = getattr(importlib.import_module(module), cls)
    names = [field.name for field in fields(solver)]
    if METHODS[name].maxiter != "absent":
        names.append("maxiter")
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise UnsupportedError(
            f"local_options have {', '.join(map(repr, unknown))}, which scipy:{name} does not "
            f"take. Allowed: {', '.join(names)}."
        )
    if "maxiter" in given and not _MAXITER.accepts(given["maxiter"]):
        raise UnsupportedError(
            f"local option maxiter={given['maxiter']!r} is not usable. Allowed: "
            f"{_MAXITER.allowed}. Left out it is SciPy's default."
        )
    return solver(**{option: value for option, value in given.items() if option != "maxiter"})


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalSearch:
    """A method of `scipy.optimize.minimize` as global optimizers call it.

    Attributes
    ----------
    method : Method
        The method.
    options : mapping of str to object
        Its options as SciPy takes them.
    tol : float or None
        Its general tolerance.
    samples : Samples
        What is told of the search, and gives gradients.
    box : tuple of ndarray, shapes (m,), float64, or None
        Lower and upper bounds.
    """

    method: Method
    options: Mapping[str, Any]
    tol: float | None
    samples: Samples
    box: tuple[NDArray[np.float64], NDArray[np.float64]] | None

    @classmethod
    def of(
        cls, solver: Any, samples: Samples, space: Space, *, maxiter: int | None = None
    ) -> LocalSearch | None:
        """Make the local search that a solver asks for.

        Parameters
        ----------
        solver : dataclass instance
            The solver.
        samples : Samples
            What is told of the search.
        space : Space
            The parameters.
        maxiter : int, optional
            Iteration limit of a search where the options have none.

        Returns
        -------
        LocalSearch or None
            The search; None where the solver asks for none.

        Raises
        ------
        UnsupportedError
            When the method does not keep the bounds, or array options do not fit.
        """
        if solver.local_method is None:
            return None
        method, box = METHODS[solver.local_method], space.box()
        if box is not None and solver.local_method not in BOUNDED:
            raise UnsupportedError(
                f"local_method={solver.local_method!r} does not honor bounds, and bounds are "
                f"given. Leave them out, or use one that does: {', '.join(BOUNDED)}."
            )
        given = dict(solver.local_options or ())
        check_shapes(method, _make(solver.local_method, given), space)
        if maxiter is not None and method.maxiter != "absent":
            given.setdefault("maxiter", maxiter)
        tol = given.pop("tol", None)
        return cls(method=method, options=given, tol=tol, samples=samples, box=box)

    @property
    def with_grad(self) -> bool:
        """Whether it takes gradients."""
        return "grad" in self.method.spec.needs

    @property
    def gradient(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
        """The gradient, where it takes one."""
        return self.samples.gradient if self.with_grad else None

    @property
    def bounds(self) -> scipy.optimize.Bounds | None:
        """The box in SciPy's form."""
        return None if self.box is None else scipy.optimize.Bounds(*self.box)

    def __call__(self, fun: Callable[..., float], x0: Any, *_: Any, **__: Any) -> Any:
        """Search from `x0`, shape (m,), for a local minimum of `fun`; the rest is known."""
        start = np.atleast_1d(np.asarray(x0, dtype=np.float64))
        if self.box is not None:
            start = np.clip(start, *self.box)  # a hop may lead outside
        with self.samples.searching(with_grad=self.with_grad):
            return scipy.optimize.minimize(
                fun,
                start,
                method=self.method.spec.name,
                jac=self.gradient,
                bounds=self.bounds,
                tol=self.tol,
                options=dict(self.options),
            )
