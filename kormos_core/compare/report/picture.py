"""Performance profiles as a picture of their own, for a paper or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core.compare.report.files import checked_file
from kormos_core.compare.report.plots import draw_performance_profiles
from kormos_core.compare.report.profiles import performance_profiles
from kormos_core.compare.report.study import EmptyStudyError, read_study
from kormos_core.compare.report.style import looks
from kormos_core.compare.report.summary import measure_costs
from kormos_core.compare.report.trajectory import Measure

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from kormos_core.compare.store import Store

__all__ = ["write_profiles"]

_STYLE: Final = 'style="color:#1c1e21;background:#ffffff" '


def write_profiles(
    store: Store,
    path: str | os.PathLike[str],
    *,
    tau: float = 1e-5,
    problems: Collection[str] | None = None,
    solvers: Collection[str] | None = None,
) -> None:
    """Write the performance profiles of a store as an SVG picture.

    E. D. Dolan, J. J. Moré, "Benchmarking optimization software with performance profiles",
    Math. Program. 91, 2002, doi:10.1007/s101070100263, section 2.

    Parameters
    ----------
    store : Store
        Where the runs are.
    path : str or os.PathLike
        The file to write; it is written over.
    tau : float
        Tolerance of the convergence test f <= f_L + tau (f_0 - f_L), in (0, 1).
    problems, solvers : collection of str or None
        Names of those to show; None shows all.

    Raises
    ------
    EmptyStudyError
        If there is nothing to show, no instance that every solver ran on, or one solver alone.
    ToleranceError
        If the tolerance is out of range.
    UnsupportedError
        If matplotlib is not installed.
    ReportFileError
        If no file can be written there.
    """
    file = checked_file(path)
    study = read_study(store, problems=problems, solvers=solvers)
    costs = {measure: measure_costs(study, measure=measure, tau=tau) for measure in Measure}
    one = costs[Measure.EVALUATIONS]
    if not one.instances or len(one.solvers) < 2:
        message = (
            f"there is no performance profile of {len(one.solvers)} solvers on "
            f"{len(one.instances)} instances that all of them ran on. Allowed are two solvers or "
            "more with an instance in common. Add runs, or leave solvers out."
        )
        raise EmptyStudyError(message)
    profiles = {m: performance_profiles(of.values, of.solvers) for m, of in costs.items()}
    title = f"Performance profiles, tau {tau:g}"
    picture = draw_performance_profiles(profiles, looks(study.solvers), title=title)
    file.write_text(picture.replace("<svg ", f"<svg {_STYLE}", 1) + "\n", encoding="utf-8")
