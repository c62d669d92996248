"""What README and the documentation say of the project is so."""

import ast
import os
import re
import subprocess
import sys
import tomllib

from pages import ROOT, blocks, files

from kormos_core.registry import installed

TABLE = re.compile(
    r"^\| solver \| needs \| supports \| memory \|.*\n\|[-|]+\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE
)
WRONG_PRODUCT = "error::kormos_core.errors.CurvatureWarning"  # else a fallback would hide it
NEEDS = {
    frozenset({"value"}): "value",
    frozenset({"value", "grad"}): "gradient",
    frozenset({"value", "grad", "hvp"}): "gradient, Hessian product",
    frozenset({"value", "grad", "hessian"}): "gradient, Hessian",
    frozenset({"value", "grad", "residuals"}): "residuals",
}
SOME_LAWS = ("quadratic", "counts", "rosenbrock")  # the last one is known to fail
LONG = 25  # letters of a message that are its own: fewer would be found in any text
INSTALL = (
    'pip install -e ".[tensorflow,compare,test]" -e ./plugins/kormos-native '
    "-e ./plugins/kormos-scipy -e ./plugins/kormos-tfp"
)


def install(folder, project):
    """Make an importable folder look installed, as a project's metadata has it."""
    name, version = project["name"], project["version"]
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = (
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(points))


def messages():
    """List the longer strings of the core as patterns; what is filled in may be anything."""
    patterns = []
    for path in (ROOT / "kormos_core").glob("**/*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        filled = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
        pieces = {id(part) for parts in filled for part in parts}
        whole = [[node] for node in nodes if id(node) not in pieces]
        for parts in filled + whole:
            own = [part.value for part in parts if isinstance(part, ast.Constant)]
            told = [value for value in own if isinstance(value, str)]
            if len("".join(told)) >= LONG:
                patterns.append(re.compile(".*".join(map(re.escape, told))))
    return patterns


def test_messages_that_troubleshooting_quotes_are_those_of_the_core():
    page = ROOT / "docs" / "troubleshooting.md"
    quoted = [
        " ".join(paragraph.split())
        for info, _, body in blocks(page)
        if info == "text"
        for paragraph in body.split("\n\n")
    ]
    known = messages()

    assert len(quoted) > 10
    assert [one for one in quoted if not any(known_one.search(one) for known_one in known)] == []


def test_the_plugins_of_contributing_work_as_they_are_written(tmp_path):
    written = files(ROOT / "CONTRIBUTING.md")
    for path, text in written.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    for name in ("steepest", "flow"):  # the second one's metadata is said, not shown
        metadata = written["pyproject.toml"].replace("steepest", name)
        install(tmp_path, tomllib.loads(metadata)["project"])

    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    process = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", WRONG_PRODUCT),
            *("tests/test_descent.py", "tests/test_flow.py"),
            *(f"tests/test_laws.py::TestDescent::test_{name}" for name in SOME_LAWS),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "6 passed, 1 xfailed" in process.stdout, process.stdout + process.stderr


def test_ci_installs_as_the_readme_says():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert f"{INSTALL} && pytest -n 2 --dist loadfile\n" in readme
    assert f"{INSTALL}\n" in script.replace("pip install --quiet", "pip install")


def table(page):
    """Map the solvers of a page's table to what it says of needs, supports and memory."""
    found = TABLE.search(page.read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `([a-z-]+:[a-z-]+)` \|(.*)\|$", found["rows"], re.MULTILINE)
    here = {solver.namespace for solver in installed().solvers()}
    return {
        name: tuple(cell.strip() for cell in cells.split("|"))[:3]
        for name, cells in rows
        if name.partition(":")[0] in here  # the command installs no plugin for torch
    }


def solvers(*namespaces):
    """List the solvers of our plugins, or of some of them."""
    own = namespaces or ("native", "scipy", "tfp", "torch")
    return [solver for solver in installed().solvers() if solver.namespace in own]


def declared(*, multiples):
    """Map our solvers to what their plugins declare, in the words of the tables."""
    said = {}
    for solver in solvers():
        spec = solver.spec
        matrices = f"{spec.dense_matrices} n²" if spec.dense_matrices > 1 and multiples else "n²"
        said[solver.name] = (
            NEEDS[spec.needs],
            ", ".join(sorted(spec.supports & {"bounds", "constraints"})),
            matrices if spec.dense_matrices else "n",
        )
    return said


def test_the_table_of_readme_says_what_the_plugins_declare():
    assert table(ROOT / "README.md") == declared(multiples=False)


def test_the_table_of_choose_a_solver_says_what_the_plugins_declare():
    assert table(ROOT / "docs" / "choose-a-solver.md") == declared(multiples=True)


def test_there_are_as_many_solvers_as_the_documentation_says():
    assert [len(solvers(name)) for name in ("native", "scipy", "tfp")] == [6, 24, 3]


def test_all_solvers_can_be_stopped_as_the_documentation_says():
    assert all("stop" in solver.spec.supports for solver in solvers())


def test_the_solvers_in_the_graph_are_those_that_the_documentation_says():
    in_graph = [solver for solver in solvers() if "in-graph" in solver.spec.supports]

    assert in_graph == solvers("native", "tfp")
    assert [solver for solver in solvers() if "chunk" in solver.spec.supports] == in_graph


def test_the_limits_of_parameters_are_those_that_the_documentation_says():
    limits = {solver.spec.max_parameters for solver in solvers()} - {None}
    text = (ROOT / "docs" / "choose-a-solver.md").read_text(encoding="utf-8")

    assert limits == {10, 33, 40, 2000}
    assert all(f"at most {limit:,} parameters" in text for limit in limits)


def test_the_tests_that_the_promises_name_are_there():
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/.-]+\.py)::(\w+)`", text)

    assert len(named) > 40
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"
