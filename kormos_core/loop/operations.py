"""The functions of `keras.ops` that in-graph methods may be written in.

Where a backend compiles loops they are those of Keras. Where it runs them as they stand, they
do the same without what Keras does around each call, which takes several times as long as the
call itself: for tensors, and numbers beside them, that need no promotion. Other arguments of
Keras's functions are taken, too, and cost what they cost there. A method that is written in
these alone says so (`LoopMethod.uses_keras`).
"""

from __future__ import annotations

from typing import Any, Final, final

from kormos_core.backends import current_backend

__all__ = ["NAMES", "ops"]

NAMES: Final = frozenset(
    {
        *("abs", "all", "any", "arange", "argmax", "argsort", "bitwise_and", "bitwise_xor"),
        *("cast", "cholesky", "clip", "concatenate", "cond", "convert_to_tensor", "cumsum"),
        *("diagonal", "equal", "expand_dims", "eye", "flip", "full", "isfinite", "isnan"),
        *("logical_and", "logical_not", "logical_or", "matmul", "max", "maximum", "minimum"),
        *("ones", "ones_like", "qr", "reshape", "right_shift", "rsqrt", "sign", "slice"),
        *("slice_update", "solve_triangular", "sqrt", "square", "stack", "sum", "take"),
        *("transpose", "unstack", "vdot", "where", "while_loop", "zeros", "zeros_like"),
    }
)
"""The functions that there are on every backend, by their names in `keras.ops`."""


@final
class _Ops:
    """The functions of the backend that Keras runs on, looked up at first use."""

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES:
            message = (
                f"kormos_core.loop.ops has no {name!r}. It has {', '.join(sorted(NAMES))}. "
                "Use these, or keras.ops in a method whose uses_keras is not set to False."
            )
            raise AttributeError(message)
        function = getattr(current_backend().ops, name)
        setattr(self, name, function)
        return function


ops: Any = _Ops()
"""The functions: tensors in, tensors out, of the dtype of what they take."""
