from __future__ import annotations

import pytest
from models import floatx


@pytest.fixture(autouse=True)
def float64():
    """Let Keras compute in float64, as losses are compared with exact ones here."""
    with floatx("float64"):
        yield
