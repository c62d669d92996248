"""What `kormos new-plugin` writes: a package with one solver, from the files beside this one."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import importlib.util
import keyword
import re
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Final, final

from kormos_core.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PluginNames", "write_plugin"]

_FILES: Final = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    ".gitignore": "gitignore.tmpl",
    ".github/workflows/tests.yml": "workflow.yml.tmpl",
    "$package/__init__.py": "package_init.py.tmpl",
    "$package/$module.py": "solver.py.tmpl",
    "tests/test_conformance.py": "test_conformance.py.tmpl",
}
_IMPORTED: Final = frozenset({"callback", "objective", "result", "status"})


@final
@dataclass(frozen=True, slots=True)
class PluginNames:
    """The names in a new plugin.

    Attributes
    ----------
    namespace : str
        Of its solvers: ``"my"`` of ``"my:solver"``.
    method : str
        Its solver: ``"solver"``.
    """

    namespace: str
    method: str

    @classmethod
    def of(cls, name: str) -> PluginNames:
        """Take a name apart at its first hyphen or colon.

        Parameters
        ----------
        name : str
            Such as ``"my-solver"``, which makes ``my:solver`` in the package ``kormos_my``.

        Returns
        -------
        PluginNames
            The names.

        Raises
        ------
        SettingError
            If it has no two parts, parts that cannot be names, or those of a package that is
            there already.
        """
        namespace, _, method = name.replace(":", "-", 1).partition("-")
        words = [namespace, *method.split("-")]
        if not all(re.fullmatch(r"[a-z][a-z0-9]*", word) for word in words) or (
            keyword.iskeyword(method)
        ):
            message = (
                f"the name {name!r} is not usable. Allowed is NAMESPACE-METHOD in lower case, of "
                "letters, digits and hyphens, each part beginning with a letter. Write such as "
                "my-solver, which makes the solver my:solver."
            )
            raise SettingError(message)
        if method in _IMPORTED:
            message = (
                f"the method {method!r} of {name!r} is not usable: its class would have the name "
                "of one that it works with. Allowed is any other. Name it after its algorithm."
            )
            raise SettingError(message)
        if importlib.util.find_spec(f"kormos_{namespace}") is not None:
            message = (
                f"the namespace {namespace!r} of {name!r} is taken: there is a package "
                f"kormos_{namespace} already. Allowed is one that nobody has here; `kormos "
                "plugins` lists them. Write such as my-solver."
            )
            raise SettingError(message)
        return cls(namespace, method)

    def substitutions(self) -> dict[str, str]:
        """Return what stands for each placeholder.

        Returns
        -------
        dict of str to str
            Text by placeholder.
        """
        return {
            "distribution": f"kormos-{self.namespace}",
            "package": f"kormos_{self.namespace}",
            "namespace": self.namespace,
            "method": self.method,
            "module": self.method.replace("-", "_"),
            "cls": "".join(word.capitalize() for word in self.method.split("-")),
            "kormos_version": importlib.metadata.version("kormos"),
        }


def write_plugin(names: PluginNames, folder: Path) -> list[Path]:
    """Write the files of a plugin.

    Parameters
    ----------
    names : PluginNames
        Its names.
    folder : Path
        Where; it must not exist, or be empty.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    SettingError
        If there is something in the folder, or nothing can be written there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = (
            f"the folder {str(folder)!r} is not empty. Allowed is one that is, or that does not "
            "exist yet. Name another by --folder."
        )
        raise SettingError(message)
    try:
        return _write(names.substitutions(), folder)
    except OSError as error:
        message = (
            f"the folder {str(folder)!r} cannot be written: {error}. Allowed is one that can be "
            "made, or is empty. Name another by --folder."
        )
        raise SettingError(message) from error


def _write(given: dict[str, str], folder: Path) -> list[Path]:
    texts = importlib.resources.files(__name__)
    written = []
    for path, source in _FILES.items():
        target = folder / Template(path).substitute(given)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = texts.joinpath(source).read_text(encoding="utf-8")
        target.write_text(Template(text).substitute(given), encoding="utf-8")
        written.append(target)
    marker = folder / given["package"] / "py.typed"
    marker.touch()
    return [*written, marker]
