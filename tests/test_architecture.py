"""What the code may import, how long a file may be, and what a bare import may load."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ("kormos_core", "kormos")
BACKENDS = {"tensorflow", "keras", "jax", "torch"}
BANNED = (
    "keras.src",
    "tensorflow.python",
    "tensorflow.keras",
    "tf_keras",
    "jax._src",
    "torch._C",
)
MAX_LINES = 400
MAX_TEST_LINES = 500


def distributions():
    """Map each distribution's folder to the packages it owns."""
    found = {ROOT: CORE}
    for plugin in sorted((ROOT / "plugins").iterdir()):
        packages = tuple(folder.name for folder in plugin.glob("kormos_*") if folder.is_dir())
        if packages:
            found[plugin] = packages
    return found


def sources():
    """List each file that ships, and each script, with the packages that are its own."""
    files = [
        (path, packages)
        for folder, packages in distributions().items()
        for package in packages
        for path in sorted((folder / package).rglob("*.py"))
    ]
    for folder in ("benchmarks", "examples"):
        files += [(path, ()) for path in sorted((ROOT / folder).rglob("*.py"))]
    return files


def is_private(dotted, own):
    """Whether a dotted name is, or passes through, a private name of someone else."""
    if any(dotted == name or dotted.startswith(f"{name}.") for name in BANNED):
        return True
    root, *rest = dotted.split(".")
    if root in own or root == "__future__":
        return False
    return any(part.startswith("_") and not part.endswith("__") for part in [root, *rest])


class ForeignNames(ast.NodeVisitor):
    """Collects every dotted name of another package that a module reaches for."""

    def __init__(self):
        self.modules = {}
        self.names = []

    def add(self, node, dotted):
        self.names.append((node.lineno, dotted))

    def visit_Import(self, node):
        for alias in node.names:
            self.add(node, alias.name)
            bound = alias.asname or alias.name.split(".")[0]
            self.modules[bound] = alias.name if alias.asname else bound

    def visit_ImportFrom(self, node):
        if node.level == 0:
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                self.add(node, dotted)
                self.modules[alias.asname or alias.name] = dotted

    def visit_Attribute(self, node):
        parts, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name) and value.id in self.modules:
            self.add(node, ".".join([self.modules[value.id], *reversed(parts)]))
        self.generic_visit(node)

    def visit_Call(self, node):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        words = [word for word in words if isinstance(word, str)]
        if called in {"import_module", "__import__", "resolve_name"} and words:
            self.add(node, words[0].replace(":", "."))
        if called == "getattr" and words and isinstance(node.args[0], ast.Name | ast.Attribute):
            owner = ast.unparse(node.args[0]).split(".")
            if owner[0] in self.modules:
                self.add(node, ".".join([self.modules[owner[0]], *owner[1:], words[0]]))
        self.generic_visit(node)


def private_names(source, own=()):
    """List the private names of others in a module's source, each with its line."""
    visitor = ForeignNames()
    visitor.visit(ast.parse(source))
    return sorted({(line, name) for line, name in visitor.names if is_private(name, own)})


def label(value):
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


@pytest.mark.parametrize(("path", "own"), sources(), ids=label)
def test_no_file_reaches_for_a_private_name_of_another_package(path, own):
    assert private_names(path.read_text(encoding="utf-8"), own) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import {}", "keras.src.ops"),
        ("from tensorflow import {}", "keras"),
        ("import tensorflow as tf; tf.{}", "python.ops"),
        ("from scipy import optimize; optimize.{}", "_lbfgsb_py"),
        ("from scipy.optimize.{} import fmin", "_optimize"),
        ("import importlib; importlib.import_module('{}')", "jax._src.core"),
        ("import numpy as np; getattr(np, '{}')", "_core"),
        ("import {} as keras", "tf_keras"),
        ("from kormos_core.registry import {}", "_cache"),
    ],
)
def test_the_check_finds_a_private_name_however_it_is_spelled(source, name):
    found = private_names(source.format(name))

    assert any(name in dotted for _, dotted in found)


def test_the_check_lets_a_package_use_its_own_private_names():
    source = "from kormos_core.registry._loader import _load\nimport numpy\nnumpy.__version__"

    assert private_names(source, own=CORE) == []


def python_files():
    """List every Python file with the number of lines it may have."""
    tracked = [path for path, _ in sources()]
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").glob("*/tests/**/*.py")]
    return [(path, MAX_LINES) for path in tracked] + [(path, MAX_TEST_LINES) for path in tests]


@pytest.mark.parametrize(("path", "limit"), python_files(), ids=label)
def test_no_file_is_too_long_to_read_at_once(path, limit):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


def test_imports_run_one_way():
    check = (
        "from importlinter.cli import lint_imports\n"
        "raise SystemExit(lint_imports(config_filename='pyproject.toml', no_cache=True))"
    )

    process = subprocess.run(
        [sys.executable, "-c", check],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*distributions(), *sys.path]))},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout + process.stderr


def modules_after(*lines):
    """List the top-level modules that a fresh interpreter holds after some statements."""
    report = "import json, sys; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, report])],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(process.stdout.splitlines()[-1]))


def test_importing_the_core_loads_no_backend():
    assert not modules_after("import kormos_core") & BACKENDS


def test_a_run_of_a_solver_needs_no_backend():
    parts = ("box", "check", "curvature", "request", "run")

    loaded = modules_after(*(f"import kormos_core.{part}" for part in parts))

    assert not loaded & BACKENDS


def test_listing_the_solvers_loads_no_backend():
    loaded = modules_after(
        "import sys",
        "from kormos_core.cli import main",
        "sys.argv = ['kormos', 'solvers']",
        "try:",
        "    main()",
        "except SystemExit as stop:",
        "    assert not stop.code, stop.code",
    )

    assert "kormos_scipy" in loaded
    assert not loaded & (BACKENDS | {"scipy"})
