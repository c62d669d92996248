from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

# Tests are imported by their path, so helpers that they share need a path of their own.
sys.path.insert(0, str(Path(__file__).parent))

# No test talks to the network: a tracker's telemetry thread has been seen to crash there.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(scope="module")
def little_to_collect():
    """Set aside what is alive: where garbage is collected often, going through it takes long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def float64():
    """Let Keras compute in float64 for one test."""
    from models import floatx

    with floatx("float64"):
        yield
