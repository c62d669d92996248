"""Every Python block of the READMEs and the documentation runs, in order, page by page."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from pages import PAGES, ROOT, blocks

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

OF_JAX = ("kormos-optax", "kormos-optimistix")


def backend_of(page):
    """Tell where a page runs: README's first command installs TensorFlow, and not torch."""
    if page.parent.name in OF_JAX:
        return "jax"
    code = (block.body for block in blocks(page) if block.info == "python")
    return "torch" if any("import torch\n" in body for body in code) else "tensorflow"


@pytest.fixture
def as_before():
    """Undo what a page tells Keras for the whole process."""
    interactive, floatx = keras.utils.is_interactive_logging_enabled(), keras.config.floatx()
    yield
    keras.config.set_floatx(floatx)
    if interactive:
        keras.utils.enable_interactive_logging()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=pytest.mark.backends(backend))
        for page in PAGES
        for backend in [backend_of(page)]
    ],
)
@pytest.mark.usefixtures("as_before", "little_to_collect")
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.random.seed(0)
    keras.utils.set_random_seed(0)
    namespace = {"__name__": "__main__"}

    for block in blocks(page):
        if block.info == "python":
            # padded with empty lines, so that a traceback tells the line of the page
            code = compile("\n" * block.line + block.body, str(page), "exec")
            exec(code, namespace)  # noqa: S102


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_of_python_is_exempt(page):
    told = [
        block.info.split(maxsplit=1)[0] if block.title else block.info
        for block in blocks(page)
        if re.match("[pP{]", block.info)
    ]

    assert set(told) == {"python"}
