from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from kormos_core.compare.report import print_table


def printed(store, width=None, **options):
    console = Console(
        file=StringIO(),
        force_terminal=width is not None,
        width=width,
        color_system=None,
        highlight=False,
    )
    print_table(store, console, **options)
    return console.file.getvalue()


def cells(text, name):
    """List the cells of each row that begins with a name."""
    lines = [line.split() for line in text.splitlines()]
    return [line[1:] for line in lines if line and line[0] == name]


def test_the_table_has_the_outcomes_and_the_summary_computed_by_hand(store):
    text = printed(store, tau=1e-3)

    assert cells(text, "a") == [
        ["1/1", "13", "1.5", "1.0e-06", "GRAD_TOL"],
        ["1/1", "9", "1", "0", "GRAD_TOL"],
        ["2/2", "100%", "1.00", "×", "3.00", "×", "1.0"],  # noqa: RUF001 - the sign is meant
    ]
    assert cells(text, "adam")[:2] == [
        ["0/1", "-", "-", "1.2e-01", "MAX_ITER"],
        ["0/1", "-", "-", "1.0e+00", "FAILED"],
    ]


def test_the_notes_stand_below(store):
    text = " ".join(printed(store, tau=1e-3).split())

    assert "a worse local minimum is no solution" in text
    assert "adam was tuned: of 4 runs" in text
    assert "Ended with an error: adam (1)." in text


def test_why_a_run_failed_stands_at_the_end(store):
    (line,) = [line for line in printed(store).splitlines() if line.startswith("FAILED")]

    assert line == "FAILED: adam on valley: ValueError: <script>no & luck</script>"


def test_of_many_failures_the_first_are_told_and_the_others_counted(empty, fill, make):
    for number in range(10):
        fields = {"run_id": str(number), "status": "CRASHED", "message": "It fell."}
        fill(empty, (make(f"p{number}", "a", **fields), (1.0,)))

    lines = printed(empty).splitlines()

    assert [line for line in lines if line.startswith("CRASHED")] == [
        f"CRASHED: a on p{number}: It fell." for number in range(8)
    ]
    assert lines[-1] == "And 2 more; CSV and JSON have all."


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_terminal_gets_whole_cells_within_its_width(empty, fill, make, width):
    name = "scipy:trust-constr"
    statuses = ["GRAD_TOL", "LINESEARCH_FAILED", "STOPPED_BY_CALLBACK"]
    for seed, status in enumerate(statuses):
        run = make("bowl", name, run_id=str(seed), seed=seed, status=status, loss=1.0)
        fill(empty, (run, (100.0, 1.0)))

    text = printed(empty, width)

    assert "…" not in text
    for cell in (name, "0/3", "1.0e-02", *statuses):
        assert cell in text
    if width >= 80:
        assert max(map(len, text.splitlines())) <= width


def test_a_pipe_gets_each_row_on_one_line(store):
    text = printed(store)

    assert len(cells(text, "adam")) == 4  # twice in the table, once in the summary, once noted


def test_markup_in_a_name_is_text(empty, fill, make):
    fill(empty, (make("bowl", "[red]a[/red]"), (100.0, 1.0)))

    assert "[red]a[/red]" in printed(empty)
