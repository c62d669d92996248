"""Compilation of functions of tensors by `torch.compile`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from kormos_core.backends.torch_scope import computing_in, left
from kormos_core.errors import KormosError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_tensors", "prepare"]


def as_tensors(structure: Any) -> Any:
    """Turn arrays and numbers into tensors of the same dtype.

    Parameters
    ----------
    structure : structure of tensor, ndarray or float
        Other leaves stay what they are.

    Returns
    -------
    structure of tensor
        The tensors, on Keras's device.
    """

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, (np.ndarray, np.generic, float)):
            return keras.ops.convert_to_tensor(np.asarray(leaf))  # of a scalar it makes float32
        return leaf

    return keras.tree.map_structure(convert, structure)


@final
class _Compiled:
    """A function of structures of tensors, compiled for each of their shapes.

    It is traced to the operations of a single graph first, with its derivatives, so that
    `torch.compile` meets neither Keras nor autograd.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._programs: dict[Any, tuple[Callable[..., Any], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function gives for `arguments`."""
        with left():
            return self._run(arguments)

    def _run(self, arguments: tuple[Any, ...]) -> Any:
        arguments = as_tensors(arguments)
        leaves = keras.tree.flatten(arguments)
        tensors = [leaf for leaf in leaves if leaf is not None]
        key = tuple(None if leaf is None else (leaf.shape, leaf.dtype) for leaf in leaves)
        if key not in self._programs:
            self._programs[key] = self._compile(arguments, leaves, tensors)
        program, result = self._programs[key]
        return keras.tree.pack_sequence_as(result, list(program(*tensors)))

    def _compile(
        self, arguments: Any, leaves: list[Any], tensors: list[Any]
    ) -> tuple[Callable[..., Any], Any]:
        results: list[Any] = []

        def flat(*given: Any) -> list[Any]:
            rest = iter(given)
            filled = [None if leaf is None else next(rest) for leaf in leaves]
            result = self._function(*keras.tree.pack_sequence_as(arguments, filled))
            results.append(keras.tree.map_structure(lambda _: 0, result))
            return list(keras.tree.flatten(result))

        try:
            traced = make_fx(flat)(*tensors)
            traced.graph.eliminate_dead_code()  # autograd compares shapes, which gives no tensor
            traced.recompile()
            program = torch.compile(traced, fullgraph=True, dynamic=False)
            program(*tensors)
        except KormosError:
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            message = (
                f"jit_compile=True cannot be honored: {type(error).__name__}: {reason:.300}. "
                "Allowed is what torch.compile takes: no noise such as that of dropout, no "
                "control flow by values, and a C++ compiler on this machine. Leave jit_compile "
                "out."
            )
            raise UnsupportedError(message) from error
        return program, results[0]


def prepare(
    function: Callable[..., Any], *, jit: bool, eager: bool, uses_keras: bool = True
) -> Callable[..., Any]:
    """Return a function that records nothing and rounds no float64.

    Parameters
    ----------
    function : callable
        Of structures of tensors.
    jit : bool
        Whether `torch.compile` compiles it.
    eager : bool
        Whether nothing does.
    uses_keras : bool
        Whether it may call what rounds float64.

    Returns
    -------
    callable
        The function.
    """

    def exactly(*arguments: Any) -> Any:
        with computing_in("float64") if uses_keras else contextlib.nullcontext():
            return function(*as_tensors(arguments))

    ready = _Compiled(exactly) if jit and not eager else exactly
    return torch.no_grad()(ready)
