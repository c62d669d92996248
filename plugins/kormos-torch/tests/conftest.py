"""What the tests of this plugin share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Keep torch from starting threads for vectors of ten numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def logistic():
    """Return a small problem."""
    from torch_problems import Logistic

    return Logistic()
