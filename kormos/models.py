"""Model classes under the names that kormos 0.1 gave them."""

from kormos_core.model import BatchOptimizedModel, BatchOptimizedSequentialModel

__all__ = ["BatchOptimizedModel", "BatchOptimizedSequentialModel"]
