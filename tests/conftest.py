from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Tests are imported by their path, so helpers that they share need a path of their own.
sys.path.insert(0, str(Path(__file__).parent))

# No test talks to the network: a tracker's telemetry thread has been seen to crash there.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture
def float64():
    """Let Keras compute in float64 for one test."""
    from models import floatx

    with floatx("float64"):
        yield
