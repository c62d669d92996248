"""The package that `kormos new-plugin` writes, installed and used."""

from __future__ import annotations

import os
import site
import subprocess
import tomllib
import venv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kormos_core.cli.app import app
from kormos_core.errors import SettingError
from kormos_core.template import PluginNames, write_plugin

# One process does both: to import TensorFlow is what takes time.
TEST_AND_TRAIN = """
import sys
import pytest
status = pytest.main(["-p", "no:cacheprovider", "-q", sys.argv[1]])
print("tests:", int(status))

import keras, numpy as np, kormos
keras.config.set_floatx("float64")
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(60, 3))
y = x @ np.array([[1.0], [-2.0], [0.5]]) + 0.1 * rng.normal(size=(60, 1))
layers = [keras.Input((3,), dtype="float64"), keras.layers.Dense(1, dtype="float64")]
model = kormos.BatchOptimizedSequentialModel(layers)
model.compile(optimizer="my:fast-solver", loss="mse")
result = model.fit(x, y, verbose=0).result
exact = np.linalg.lstsq(np.c_[x, np.ones(60)], y, rcond=None)[0]
assert result.converged and result.solver == "my:fast-solver", result
np.testing.assert_allclose(result.x, exact.ravel(), atol=1e-4)
print("trained")
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """Write a plugin by the command."""
    folder = tmp_path_factory.mktemp("plugins") / "kormos-my"
    told = CliRunner().invoke(app, ["new-plugin", "my-fast-solver", "--folder", str(folder)])
    assert told.exit_code == 0, told.output
    return folder


@pytest.fixture(scope="module")
def python(plugin, tmp_path_factory):
    """Install it into an environment of its own, which sees what this one has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    here = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    told = "import site; print(site.getsitepackages()[0])"
    packages = subprocess.run([here, "-c", told], capture_output=True, text=True, check=True)
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (Path(packages.stdout.strip()) / "of_the_tests.pth").write_text("\n".join(lines))
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([here, "-m", "pip", "install", *options, plugin], check=True)
    return here


def run(python, *arguments, cwd):
    return subprocess.run(
        [python, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.fixture(scope="module")
def told(plugin, python):
    """Run its tests, and train a model."""
    return run(python, "-c", TEST_AND_TRAIN, str(plugin), cwd=plugin)


def test_the_package_says_what_it_is(plugin):
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["name"] == "kormos-my"
    assert project["entry-points"] == {"kormos": {"my": "kormos_my"}}
    assert sorted(path.name for path in (plugin / "kormos_my").iterdir()) == [
        "__init__.py",
        "fast_solver.py",
        "py.typed",
    ]
    assert "$" not in (plugin / "README.md").read_text(encoding="utf-8")
    workflow = (plugin / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert "${{ matrix.python }}" in workflow


def test_its_solver_is_listed_and_trains_a_model(python, told, tmp_path):
    listed = run(python, "-m", "kormos_core.cli", "solvers", cwd=tmp_path)

    assert "my:fast-solver" in listed.stdout, listed.stderr
    assert told.stdout.strip().endswith("trained"), told.stderr


def test_its_own_tests_pass(told):
    assert "tests: 0" in told.stdout, told.stdout + told.stderr
    assert " passed" in told.stdout


@pytest.mark.parametrize(
    "name", ["solver", "My-solver", "my-", "-solver", "my-so_lver", "my-1st", "my-class", "a/b-c"]
)
def test_a_name_that_makes_no_package_is_refused(name):
    with pytest.raises(SettingError, match="Allowed is NAMESPACE-METHOD in lower case"):
        PluginNames.of(name)


@pytest.mark.parametrize("name", ["core-solver", "scipy-lbfgs"])
def test_a_namespace_whose_package_is_there_is_refused(name):
    with pytest.raises(SettingError, match=r"is taken: there is a package kormos_(core|scipy)"):
        PluginNames.of(name)


def test_a_method_whose_class_would_hide_what_it_works_with_is_refused():
    with pytest.raises(SettingError, match="the method 'result' of 'my-result' is not usable"):
        PluginNames.of("my-result")


def test_a_misuse_ends_with_status_two_and_writes_nothing(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    below = str(tmp_path / "file" / "plugin")

    told = CliRunner().invoke(app, ["new-plugin", "my-solver", "--folder", below])

    assert told.exit_code == 2
    assert "cannot be written: " in told.stderr
    assert told.stdout == ""


def test_a_name_may_have_the_colon_of_the_solver():
    assert PluginNames.of("my:solver") == PluginNames("my", "solver")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "own.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(SettingError, match="is not empty"):
        write_plugin(PluginNames("my", "solver"), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["own.txt"]
