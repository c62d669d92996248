"""Newton's equation, and how far it is worth solving.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kormos_core.loop import ops
from kormos_native.conjugate_gradients import Equation
from kormos_native.newton import gradient_tolerance

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import GraphObjective, State
    from kormos_native.newton import NewtonOptions

__all__ = ["newton_equation"]

_LARGEST: Final = 0.5  # term, and the first one
_GAMMA: Final = 0.9  # of Eisenstat and Walker's second choice
_MEMORABLE: Final = 0.1  # an earlier term below this does not hold the next one up
_ENOUGH: Final = 0.1  # of the gradient's tolerance


def newton_equation(
    options: NewtonOptions, graph: GraphObjective, state: State
) -> tuple[Callable[[Any], Any], Equation, State]:
    """Return Newton's equation at the latest point, and how far to solve it.

    Parameters
    ----------
    options : NewtonOptions
        The method's options.
    graph : GraphObjective
        The objective.
    state : dict of str to tensor
        The state.

    Returns
    -------
    product : callable
        Multiplies with the Hessian.
    equation : Equation
        What is solved.
    terms : dict of str to tensor
        ``norm`` and ``term`` of the next state.

    Notes
    -----
    The tolerance is ``term |g|``. The term is 0.5 at first, then ``0.9 (|g| / |g before|)²``,
    not below ``0.9 (term before)²`` where that is above 0.1, nor below what brings the
    gradient to a tenth of its tolerance, and at most 0.5.

    References
    ----------
    S. C. Eisenstat, H. F. Walker, "Choosing the Forcing Terms in an Inexact Newton Method",
    SIAM J. Sci. Comput. 17(1), 1996, choice 2 and its safeguard, doi:10.1137/0917003.
    """
    g, before = state["g"], state["norm"]
    norm = ops.sqrt(ops.vdot(g, g))
    first = before == 0.0
    ratio = norm / ops.where(first, norm, before)
    held = _GAMMA * state["term"] ** 2
    term = ops.maximum(_GAMMA * ratio**2, ops.where(held > _MEMORABLE, held, 0.0))
    enough = _ENOUGH * gradient_tolerance(options) / ops.max(ops.abs(g))
    term = ops.minimum(ops.where(first, _LARGEST, ops.maximum(term, enough)), _LARGEST)
    n = g.shape[0]
    limit = options.maxcg or min(max(20, 2 * n), 200)
    product = graph.hvp_at(state["x"], fraction=options.hvp_fraction, part=state["iteration"])
    equation = Equation(g, term * norm, limit, graph.epsilon)
    return product, equation, {"norm": norm, "term": term}
