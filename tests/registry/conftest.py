"""Real distributions, good and bad, installed with pip into folders of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HOOK = """
from kormos_core import SolverSpec, hookimpl

@hookimpl
def kormos_solvers():
    {body}
"""

GOOD_SOLVERS = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Steep:
    rate: float = 0.1

    def minimize(self, objective, x0, *, maxiter, callback):
        raise NotImplementedError
"""

# distribution: (namespace, source of the plugin module)
BODIES = {
    "kormos-good": (
        "good",
        (
            "yield SolverSpec(name='steep', factory='kormos_good_solvers:Steep', default=True)\n"
            "    yield SolverSpec(name='other', factory='kormos_good_solvers:Steep',\n"
            "                     aliases=('Both',))"
        ),
    ),
    "kormos-rival": (
        "rival",
        "return [SolverSpec(name='one', factory='nowhere.at_all:One', aliases=('both',))]",
    ),
    "kormos-raising": ("raising", "raise RuntimeError('the hook gave up')"),
    "kormos-wrong": ("wrong", "yield {'name': 'a-dict'}"),
    "kormos-silent": ("silent", "return None"),
    "kormos-invalid": ("invalid", "yield SolverSpec(name='x', factory='a:B', kind='magic')"),
    "kormos-twice": ("twice", "return [SolverSpec(name='x', factory='a:B')] * 2"),
    "kormos-defaults": (
        "defaults",
        "return [SolverSpec(name=n, factory='a:B', default=True) for n in 'xy']",
    ),
    "kormos-first": ("Shared", "yield SolverSpec(name='x', factory='a:B', aliases=('common',))"),
    "kormos-second": ("shared", "yield SolverSpec(name='x', factory='a:B')"),
    "kormos-late": (
        "late",
        (
            "yield SolverSpec(name='now', factory='a:B')\n"
            "    yield SolverSpec(name='later', factory='a:B', kind='magic', api_version=99,\n"
            "                     aliases=('tomorrow',))"
        ),
    ),
    "kormos-spaced": ("a b", "yield SolverSpec(name='x', factory='a:B')"),
}
SOURCES = {
    "kormos-missing": ("missing", "import a_module_that_nobody_has\n"),
    "kormos-exiting": ("exiting", "raise SystemExit('bye')\n"),
    "kormos-hookless": ("hookless", "x = 1\n"),
    "kormos-misspelled": (
        "misspelled",
        "from kormos_core import hookimpl\n\n@hookimpl\ndef kormos_solver():\n    return []\n",
    ),
    "kormos-ahead": (
        "ahead",
        (
            "from kormos_core import HVPSpec, ProblemSpec, hookimpl\n\n"
            "@hookimpl\ndef kormos_hvps():\n"
            "    return [HVPSpec(name='kind', factory='a:b', api_version=99)]\n\n"
            "@hookimpl\ndef kormos_problems():\n"
            "    return [ProblemSpec(name='valley', factory='a:b', api_version=98)]\n"
        ),
    ),
} | {name: (namespace, HOOK.format(body=body)) for name, (namespace, body) in BODIES.items()}


@dataclass(frozen=True)
class Zoo:
    """Where the distributions are installed: the newer ones and an old copy of one."""

    new: Path
    old: Path


class RunPython(Protocol):
    """Runs Python in a process of its own, with folders put before its path."""

    def __call__(
        self, *arguments: str, path: tuple[Path, ...], **environ: str
    ) -> subprocess.CompletedProcess[str]: ...


def write_wheel(
    folder: Path, name: str, version: str, namespace: str, modules: dict[str, str]
) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    plugin = next(iter(modules))
    files = {f"{module}.py": source for module, source in modules.items()}
    files[f"{stem}.dist-info/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    files[f"{stem}.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{stem}.dist-info/entry_points.txt"] = f"[kormos]\n{namespace} = {plugin}\n"
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join(f"{file},,\n" for file in [*files, record])
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return wheel


def pip_install(target: Path, wheels: list[Path]) -> None:
    options = ["--isolated", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *options),
            *("--target", str(target), *map(str, wheels)),
        ],
        check=True,
    )


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    folder = tmp_path_factory.mktemp("zoo")
    wheels = []
    for name, (namespace, source) in SOURCES.items():
        module = name.replace("-", "_")
        modules = {module: source}
        if name == "kormos-good":
            modules["kormos_good_solvers"] = GOOD_SOLVERS
        wheels.append(write_wheel(folder, name, "1.0", namespace, modules))
    body = "yield SolverSpec(name='obsolete', factory='a:B')"
    old_wheel = write_wheel(
        folder, "Kormos.Good", "0.9", "good", {"kormos_good": HOOK.format(body=body)}
    )
    zoo = Zoo(new=folder / "new", old=folder / "old")
    pip_install(zoo.new, wheels)
    pip_install(zoo.old, [old_wheel])
    return zoo


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    def run(
        *arguments: str, path: tuple[Path, ...], **environ: str
    ) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("KORMOS_")
        }
        folders = [*map(str, path), os.environ.get("PYTHONPATH", "")]
        search = os.pathsep.join(filter(None, folders))
        return subprocess.run(
            [sys.executable, *arguments],
            env=inherited | {"PYTHONPATH": search} | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
