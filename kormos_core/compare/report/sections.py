"""The sections of a report's page."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from kormos_core.compare.report.curves import convergence_curves
from kormos_core.compare.report.markup import details, listed, paragraph, table
from kormos_core.compare.report.notes import failures, study_notes, tunings
from kormos_core.compare.report.outcomes import outcomes
from kormos_core.compare.report.plots import (
    draw_curves,
    draw_data_profiles,
    draw_performance_profiles,
)
from kormos_core.compare.report.profiles import data_profiles, performance_profiles
from kormos_core.compare.report.summary import measure_costs, summarize
from kormos_core.compare.report.trajectory import Measure
from kormos_core.compare.report.wording import (
    brief,
    count,
    figure,
    gap,
    megabytes,
    percent,
    rank,
    seconds,
    sentence,
    share,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kormos_core.compare.report.run import Instance
    from kormos_core.compare.report.study import Study
    from kormos_core.compare.report.style import Look
    from kormos_core.compare.report.summary import Costs
    from kormos_core.compare.store import RunRecord

__all__ = [
    "failure_section",
    "head_section",
    "problem_section",
    "profile_section",
    "reading_section",
    "summary_section",
]

_PAPERS: Final = (
    '<p>Sources: E. D. Dolan and J. J. Moré, <a href="https://doi.org/10.1007/s101070100263">'
    "Benchmarking optimization software with performance profiles</a>, Mathematical Programming "
    "91, 2002; J. J. Moré and S. M. Wild, "
    '<a href="https://doi.org/10.1137/080724083">Benchmarking derivative-free optimization '
    "algorithms</a>, SIAM Journal on Optimization 20(1), 2009.</p>"
)


def head_section(study: Study) -> str:
    """Tell what was run in a `study`: problems, solvers, budgets, versions."""
    records = study.records
    times_of = sorted(record.finished_at for record in records if record.finished_at)
    when = f", finished from {times_of[0]} to {times_of[-1]}" if times_of else ""
    versions: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, version in record.versions.items():
            versions[name].add(str(version))
    budgets = dict.fromkeys(brief(record.budget) for record in records)
    facts = [
        (
            f"Problems: {len(study.problems)}. Solvers: {len(study.solvers)}. Instances, which "
            f"are problem, dtype, seed and start: {len(study.instances)}. Runs: "
            f"{len(records)}{when}."
        ),
        f"Budget of a run: {'; or '.join(budgets)}.",
        (
            f"Dtypes: {_values(study, 'dtype')}. Seeds: {_values(study, 'seed')}. Starts: "
            f"{_values(study, 'start')}."
        ),
    ]
    told = [f"{name} {' and '.join(sorted(found))}" for name, found in sorted(versions.items())]
    facts.append(f"Made with: {', '.join(told) or 'not told'}.")
    mixed = sorted(name for name, found in versions.items() if len(found) > 1)
    if mixed:
        facts.append(f"Not all runs had the same {', '.join(mixed)}: compare seconds with care.")
    return "\n".join(
        [
            listed(facts),
            details("Problems", _problem_table(study)),
            details("Solvers", _solver_table(study)),
        ]
    )


def summary_section(study: Study, looks: Mapping[str, Look], *, tau: float) -> str:
    """Sum up all problems of a study, and say what to know first.

    Parameters
    ----------
    study : Study
        The runs.
    looks : mapping of str to Look
        The colors of the solvers.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    str
        The section.
    """
    rows = [
        (
            line.solver,
            share(line.num_solved, line.num_instances),
            percent(line.num_solved, line.num_instances),
            times(line.evaluations_ratio),
            times(line.seconds_ratio),
            rank(line.mean_rank),
        )
        for line in summarize(study, tau=tau)
    ]
    headings = ("solver", "solved", "share", "evaluations", "seconds", "mean rank")
    notes = listed(study_notes(study, tau=tau))
    parts = [
        f"<h2>Summary, to tau = {tau:g}</h2>",
        table(headings, rows, swatches=[looks[row[0]].color for row in rows]),
        paragraph(
            "Over the instances that every solver ran on. Evaluations and seconds: median of the "
            "multiple of the best solver's cost; none where half of them or more were not solved. "
            "Rank: by evaluations."
        ),
        f"<h2>What to know first</h2>\n{notes}" if notes else "",
        _tuning_table(study),
    ]
    return "\n".join(filter(None, parts))


def profile_section(
    study: Study, looks: Mapping[str, Look], *, taus: Sequence[float], shown: float
) -> str:
    """Draw the profiles of a study.

    Parameters
    ----------
    study : Study
        The runs.
    looks : mapping of str to Look
        How the solvers are drawn.
    taus : sequence of float
        Tolerances; each gets its pictures.
    shown : float
        The one whose pictures are unfolded at first.

    Returns
    -------
    str
        The section.
    """
    parts = [
        "<h2>Profiles</h2>",
        paragraph(
            "Performance profiles, the upper pictures where there are several solvers: the share "
            "of instances solved at a cost of up to so many times the best solver's. The value "
            "at 1 is the share of wins, shared ones included; the right end is the share solved "
            "at all. Data profiles, below: the share solved within a cost. Higher is better."
        ),
    ]
    for tau in taus:
        costs = {m: measure_costs(study, measure=m, tau=tau) for m in Measure}
        parts.append(details(f"tau = {tau:g}", _pictures(costs, looks, tau), is_open=tau == shown))
    return "\n".join(parts)


def problem_section(study: Study, looks: Mapping[str, Look], *, tau: float) -> str:
    """Show the outcomes and curves of each problem of a study.

    Parameters
    ----------
    study : Study
        The runs.
    looks : mapping of str to Look
        How the solvers are drawn.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    str
        The section.
    """
    parts = [
        "<h2>Problem by problem</h2>",
        paragraph(
            "Evaluations and seconds: until the convergence test was passed. Gap: the least "
            "(f - f_L) / (f_0 - f_L). Of several runs, medians; where there are up to four "
            "solvers, a band spans all of them."
        ),
    ]
    for group, instances in study.groups().items():
        body = f"{_outcome_table(study, looks, instances, tau)}\n"
        curves = {m: convergence_curves(study, instances, measure=m) for m in Measure}
        if any(curves.values()):
            body += draw_curves(curves, looks, title=f"Convergence on {group}")
        parts.append(details(_group_line(study, group, instances, tau), body))
    return "\n".join(parts)


def failure_section(study: Study) -> str:
    """List the runs of a `study` that failed, crashed, or had to be killed; nothing if none."""
    rows = [
        (
            record.solver,
            record.problem,
            f"{record.dtype}, seed {record.seed}, start {record.start}",
            record.status,
            record.message or sentence(record.status),
        )
        for record in failures(study)
    ]
    if not rows:
        return ""
    headings = ("solver", "problem", "instance", "what", "why")
    text = paragraph(
        "A run that failed or crashed solved nothing, whatever it had reached. One that was "
        "killed, since it did not stop, counts for what it had reached within its limit of time."
    )
    return f"<h2>Failed, crashed, killed</h2>\n{text}\n{table(headings, rows, left=range(5))}"


def reading_section(study: Study, *, tau: float) -> str:
    """Say how the numbers of a `study` are to be read, at a tolerance `tau`."""
    statuses = sorted({record.status for record in study.records})
    words = [
        (
            f"Solved means f <= f_L + tau (f_0 - f_L), in tables with tau = {tau:g}: the loss f "
            "came down from the start's, f_0, by all but that share of what can be gained."
        ),
        (
            "f_L is the least loss that is known for the problem, or that any solver found from "
            "any seed and start in the same dtype, those not shown here included. So a solver "
            "that ends in a worse local minimum has not solved the problem, whatever its own "
            "tolerances said. If all of them end in one, nobody can tell."
        ),
        (
            "Evaluations are sweeps over the training data: losses, gradients and Hessian-vector "
            "products. Of Keras's optimizers they are epochs, of many steps each."
        ),
        (
            "Seconds leave out the first call, which traces and compiles, and the tuning of "
            "options. Iterations of different methods cost differently."
        ),
        (
            "Peak MB is the largest resident size of the run's process; the backend's own "
            "hundreds are in it."
        ),
        "Losses closer to f_L than rounding are not told apart, and curves stop there.",
    ]
    legend = table(("status", "meaning"), [(s, sentence(s)) for s in statuses], left=(0, 1))
    return f"<h2>How to read this</h2>\n{listed(words)}\n{legend}\n{_PAPERS}"


def _pictures(costs: Mapping[Measure, Costs], looks: Mapping[str, Look], tau: float) -> str:
    one = costs[Measure.EVALUATIONS]
    if not one.instances:
        return paragraph("There is no instance that every solver ran on: no profile can be made.")
    absolute = {
        measure: data_profiles(costs[measure].values, one.solvers)
        for measure in (Measure.EVALUATIONS, Measure.SECONDS)
    }
    nobody = f", {len(one.unsolved)} of which nobody solved" if one.unsolved else ""
    parts = [paragraph(f"Over {len(one.instances)} instances{nobody}.")]
    if len(one.solvers) > 1:  # a solver by itself is always the best
        relative = {m: performance_profiles(of.values, of.solvers) for m, of in costs.items()}
        title = f"Performance profiles, tau {tau:g}"
        parts.append(draw_performance_profiles(relative, looks, title=title))
    parts.append(draw_data_profiles(absolute, looks, title=f"Data profiles, tau {tau:g}"))
    return "\n".join(parts)


def _outcome_table(
    study: Study, looks: Mapping[str, Look], instances: Sequence[Instance], tau: float
) -> str:
    found = outcomes(study, instances, tau=tau)
    told = [record.metric for at in instances for record in _records(study, at)]
    metrics = [metric for metric in dict.fromkeys(told) if metric][:1]  # a problem has one
    headings = (
        "solver",
        "solved",
        "evaluations",
        "seconds",
        "gap",
        "final loss",
        "|g|",
        *(metric.replace("_", " ") for metric in metrics),
        "peak MB",
        "why it stopped",
    )
    rows = [
        (
            row.solver,
            share(row.num_solved, row.num_judged),
            count(row.evaluations),
            seconds(row.seconds),
            gap(row.gap),
            figure(row.loss, "#.6g"),
            figure(row.grad_norm, ".1e"),
            *([figure(row.metric, ".4g")] if metrics else []),
            megabytes(row.peak_memory_bytes),
            row.reason,
        )
        for row in found
    ]
    colors = [looks[row.solver].color for row in found]
    return table(headings, rows, left=(0, len(headings) - 1), swatches=colors)


def _group_line(study: Study, group: str, instances: Sequence[Instance], tau: float) -> str:
    found = outcomes(study, instances, tau=tau)
    passed = sum(1 for row in found if row.num_judged and row.num_solved == row.num_judged)
    return f"{group}: solved every time by {passed} of {len(found)} solvers"


def _problem_table(study: Study) -> str:
    rows = []
    for group, instances in study.groups().items():
        records = [record for at in instances for record in _records(study, at)]
        target = study.targets[instances[0]]
        rows.append(
            (
                group,
                ", ".join(sorted({record.problem_set for record in records} - {""})) or "-",
                count(max(r.num_parameters or 0 for r in records) or None),
                count(max(r.num_samples or 0 for r in records) or None),
                str(len(instances)),
                figure(target.f_start, "#.6g"),
                figure(target.f_best, ".10g"),
                target.source,
            )
        )
    headings = (
        "problem", "set", "parameters", "samples", "instances", "f_0", "f_L", "f_L is of",
    )  # fmt: skip
    text = paragraph("f_0 is that of the first instance.")
    return table(headings, rows, left=(0, 1, 7)) + text


def _solver_table(study: Study) -> str:
    rows = []
    for solver in study.solvers:
        records = [run.record for (_, name), run in study.runs.items() if name == solver]
        options = list(dict.fromkeys(brief(record.options) for record in records))
        told = "; ".join(options) if len(options) < 4 else f"{len(options)} different ones, tuned"
        total = sum(record.wall_time_s or 0.0 for record in records)
        compiling = sum(record.first_call_s or 0.0 for record in records)
        rows.append((solver, str(len(records)), seconds(total), seconds(compiling), told))
    headings = ("solver", "runs", "seconds in all", "first calls, s", "options")
    return table(headings, rows, left=(0, 4))


def _tuning_table(study: Study) -> str:
    rows = [
        (
            row.solver,
            row.group,
            count(row.num_runs),
            seconds(row.tuning_s),
            seconds(row.wall_time_s),
            times(row.tuning_s / row.wall_time_s if row.wall_time_s else None),
        )
        for row in tunings(study)
    ]
    headings = ("solver", "problem", "runs tried", "tuning, s", "run shown, s", "multiple")
    return details("What tuning cost", table(headings, rows, left=(0, 1))) if rows else ""


def _records(study: Study, instance: Instance) -> list[RunRecord]:
    return [run.record for (at, _), run in study.runs.items() if at == instance]


def _values(study: Study, field: str) -> str:
    found = dict.fromkeys(str(getattr(instance, field)) for instance in study.instances)
    return ", ".join(found)
