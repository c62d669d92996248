"""What each of SciPy's global optimizers is, needs and supports: the list of them.

The limits of n are measured on two cores with SciPy 1.17 and a loss that costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core import SolverSpec

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support

__all__ = ["GLOBAL"]

_VALUE: Final[frozenset[Need]] = frozenset({"value"})
_GRAD: Final[frozenset[Need]] = frozenset({"value", "grad"})  # of the local searches
_SUPPORTS: Final[frozenset[Support]] = frozenset({"stop", "bounds"})
_DTYPES: Final = frozenset({"float32", "float64"})

_DECLARED: Final[tuple[SolverSpec, ...]] = (
    SolverSpec(
        name="dual-annealing",
        factory="kormos_scipy.annealing:DualAnnealing",
        summary="Simulated annealing with local searches in a box: the one to try first.",
        kind="global",
        needs=_GRAD,
        supports=_SUPPORTS,
        dtypes=_DTYPES,
        tolerates_nonfinite=True,
        requires_bounds=True,
        citation="Y. Xiang, D. Y. Sun, W. Fan, X. G. Gong, Generalized simulated annealing "
        "algorithm and its application to the Thomson model, 1997, "
        "doi:10.1016/S0375-9601(97)00474-X",
    ),
    SolverSpec(
        name="differential-evolution",
        factory="kormos_scipy.evolution:DifferentialEvolution",
        summary="A population that evolves in a box: robust, rough losses, some tens of n.",
        kind="global",
        needs=_GRAD,
        supports=_SUPPORTS,
        dtypes=_DTYPES,
        dense_matrices=75,  # five times the population of 15 n points of n numbers
        tolerates_nonfinite=True,
        requires_bounds=True,
        citation="R. Storn, K. Price, Differential Evolution - a Simple and Efficient Heuristic "
        "for Global Optimization over Continuous Spaces, 1997, doi:10.1023/A:1008202821328",
    ),
    SolverSpec(
        name="basinhopping",
        factory="kormos_scipy.basin_hopping:BasinHopping",
        summary="Random hops and local searches; the only one that needs no bounds.",
        kind="global",
        needs=_GRAD,
        supports=_SUPPORTS,
        dtypes=_DTYPES,
        tolerates_nonfinite=True,
        citation="D. J. Wales, J. P. K. Doye, Global Optimization by Basin-Hopping and the Lowest "
        "Energy Structures of Lennard-Jones Clusters Containing up to 110 Atoms, 1997, "
        "doi:10.1021/jp970984n",
    ),
    SolverSpec(
        name="shgo",
        factory="kormos_scipy.homology:SHGO",
        summary="Samples a box, tells its basins apart, and searches each: all local minima.",
        kind="global",
        needs=_GRAD,
        supports=_SUPPORTS,
        dtypes=_DTYPES,
        # 2**n + 1 samples a round and their triangulation: 2 s for n = 8, 12 s for n = 10
        max_parameters=10,
        tolerates_nonfinite=True,
        requires_bounds=True,
        citation="S. C. Endres, C. Sandrock, W. W. Focke, A simplicial homology algorithm for "
        "Lipschitz optimisation, 2018, doi:10.1007/s10898-018-0645-y",
    ),
    SolverSpec(
        name="direct",
        factory="kormos_scipy.rectangles:Direct",
        summary="Divides a box into ever smaller ones: no gradient, a handful of parameters.",
        kind="global",
        needs=_VALUE,
        supports=_SUPPORTS,
        dtypes=_DTYPES,
        # One cut of every side, which is where it begins, leaves 3**-n of the volume: for
        # n > 33 that is below vol_tol=1e-16, and the search would end as it begins.
        max_parameters=33,
        tolerates_nonfinite=True,
        requires_bounds=True,
        citation="D. R. Jones, C. D. Perttunen, B. E. Stuckman, Lipschitzian optimization "
        "without the Lipschitz constant, 1993, doi:10.1007/BF00941892",
    ),
    SolverSpec(
        name="brute",
        factory="kormos_scipy.grid:Brute",
        summary="Every point of a grid, then a local search: up to four parameters.",
        kind="global",
        needs=_GRAD,
        supports=_SUPPORTS,
        dtypes=_DTYPES,
        max_parameters=40,  # SciPy's; the points of the grid end it before, see `Brute`
        tolerates_nonfinite=True,
        requires_bounds=True,
        citation="P. Virtanen et al., SciPy 1.0: fundamental algorithms for scientific computing "
        "in Python, 2020, doi:10.1038/s41592-019-0686-2",
    ),
)

GLOBAL: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The global optimizers by their names here, the likeliest choice first."""
