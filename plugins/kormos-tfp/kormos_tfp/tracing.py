"""One trace of the objective for all the places where a minimizer calls it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import GraphObjective

__all__ = ["traced_once"]


def traced_once(
    function: Callable[[GraphObjective, Any], Any], graph: GraphObjective
) -> Callable[[Any], Any]:
    """Make a function of the objective that is traced once, wherever it is called.

    Parameters
    ----------
    function : callable
        Takes the objective and a point, shape (n,).
    graph : GraphObjective
        The objective.

    Returns
    -------
    callable
        The function of the point alone.

    Notes
    -----
    It is a function within the function that is being compiled; where nothing is, there is
    nothing to trace.
    """
    # A partial is new to TensorFlow, which counts the traces of all functions that share
    # their code together, and would warn of too many.
    at_graph = functools.partial(function, graph)
    if tf.executing_eagerly():
        return at_graph
    return tf.function(at_graph, autograph=False)  # type: ignore[no-any-return]
