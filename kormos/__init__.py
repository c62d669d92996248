"""kormos: train any Keras 3 model with the classical solvers, by naming one."""

from kormos import models, optimizers
from kormos_core import KormosError, Result, Status
from kormos_core.chain import Chain
from kormos_core.compare.harness import compare
from kormos_core.least_squares import least_squares
from kormos_core.minimize import minimize
from kormos_core.model import (
    BatchOptimizedMixin,
    BatchOptimizedModel,
    BatchOptimizedSequentialModel,
)
from kormos_core.optimizer import BatchOptimizer
from kormos_core.residual_model import LeastSquaresMixin, LeastSquaresModel
from kormos_core.training import fit

__all__ = [
    "BatchOptimizedMixin",
    "BatchOptimizedModel",
    "BatchOptimizedSequentialModel",
    "BatchOptimizer",
    "Chain",
    "KormosError",
    "LeastSquaresMixin",
    "LeastSquaresModel",
    "Result",
    "Status",
    "compare",
    "fit",
    "least_squares",
    "minimize",
    "models",
    "optimizers",
]
