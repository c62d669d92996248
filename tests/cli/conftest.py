from __future__ import annotations

import pytest

from kormos_core.capabilities import SolverSpec
from kormos_core.registry import Plugin, Registry

LONG_SUMMARY = "A method whose summary is long enough to be wrapped in every terminal there is."


@pytest.fixture
def registry() -> Registry:
    good = Plugin(
        namespace="scipy",
        distribution="kormos-scipy",
        version="1.0",
        target="kormos_scipy",
        solvers=(
            SolverSpec(
                name="trust-krylov",
                factory="nowhere:X",
                needs=frozenset({"hvp", "value", "grad"}),
                supports=frozenset({"stop", "constraints", "bounds"}),
                aliases=("trust-krylov", "both"),
                default=True,
                summary=LONG_SUMMARY,
            ),
            SolverSpec(
                name="newton",
                factory="nowhere:X",
                kind="least-squares",
                backends=frozenset({"tensorflow", "jax"}),
                aliases=("both",),
                dense_matrices=2,
                max_parameters=1000,
            ),
        ),
        skipped=(SolverSpec(name="later", factory="nowhere:X", api_version=9),),
    )
    broken = Plugin(
        namespace="bad",
        distribution="kormos-bad",
        version="2.0",
        target="kormos_bad",
        status="broken",
        reason="ImportError: [no] luck",
        traceback='Traceback:\n  File "plugin.py", line 3, in <module>\n'
        '  File "<frozen importlib>", line 1\nImportError: [no] luck\n',
    )
    return Registry([broken, good])
