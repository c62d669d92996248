from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kormos_core.compare import find_problem
from kormos_core.compare.trial import prepare

if TYPE_CHECKING:
    from kormos_core.compare.trial import Trial


@pytest.fixture(scope="session")
def linear() -> Trial:
    return prepare(find_problem("linear"), dtype="float64", seed=0)


@pytest.fixture(scope="session")
def diabetes() -> Trial:
    return prepare(find_problem("diabetes"), dtype="float64", seed=0)
