"""The seam to Keras's backends; each backend is named in one module only."""

from kormos_core.backends.current import current_backend
from kormos_core.backends.on_host import (
    compile_hvp,
    compile_map,
    compile_value,
    compile_value_and_grad,
)
from kormos_core.backends.protocol import (
    Backend,
    BatchFunction,
    Forward,
    Linearize,
    Product,
)

__all__ = [
    "Backend",
    "BatchFunction",
    "Forward",
    "Linearize",
    "Product",
    "compile_hvp",
    "compile_map",
    "compile_value",
    "compile_value_and_grad",
    "current_backend",
]
