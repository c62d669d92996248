from __future__ import annotations

import keras

import kormos
from kormos_core.model import BatchOptimizedModel, BatchOptimizedSequentialModel
from kormos_core.optimizer import BatchOptimizer


def test_the_face_has_what_it_promises():
    assert all(hasattr(kormos, name) for name in kormos.__all__)


def test_models_have_the_names_of_0_1():
    assert kormos.models.BatchOptimizedModel is BatchOptimizedModel
    assert kormos.models.BatchOptimizedSequentialModel is BatchOptimizedSequentialModel
    assert kormos.BatchOptimizedModel is BatchOptimizedModel


def test_optimizers_have_the_names_of_0_1():
    assert kormos.optimizers.BatchOptimizer is BatchOptimizer
    assert issubclass(kormos.optimizers.ScipyBatchOptimizer, BatchOptimizer)
    assert issubclass(BatchOptimizer, keras.optimizers.Optimizer)


def test_classes_are_registered_under_the_package_kormos():
    names = {
        keras.saving.get_registered_name(cls)
        for cls in (
            kormos.BatchOptimizedModel,
            kormos.BatchOptimizedSequentialModel,
            kormos.BatchOptimizer,
            kormos.optimizers.ScipyBatchOptimizer,
        )
    }

    assert names == {
        "kormos>BatchOptimizedModel",
        "kormos>BatchOptimizedSequentialModel",
        "kormos>BatchOptimizer",
        "kormos>ScipyBatchOptimizer",
    }
