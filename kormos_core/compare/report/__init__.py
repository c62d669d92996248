"""Reports of a comparison's runs: terminal, CSV, one page of HTML, and the numbers behind."""

from kormos_core.compare.report.curves import Curve, convergence_curves
from kormos_core.compare.report.files import ReportFileError, checked_file
from kormos_core.compare.report.outcomes import Outcome, outcomes
from kormos_core.compare.report.page import write_html
from kormos_core.compare.report.picture import write_profiles
from kormos_core.compare.report.profiles import (
    CostError,
    Profile,
    data_profiles,
    performance_profiles,
    performance_ratios,
)
from kormos_core.compare.report.run import Instance
from kormos_core.compare.report.study import EmptyStudyError, Study, read_study
from kormos_core.compare.report.summary import (
    TAUS,
    Summary,
    ToleranceError,
    measure_costs,
    ranks,
    solved,
    summarize,
)
from kormos_core.compare.report.svg import load_matplotlib
from kormos_core.compare.report.target import Target
from kormos_core.compare.report.terminal import print_table
from kormos_core.compare.report.tidy import write_csv
from kormos_core.compare.report.trajectory import Measure

__all__ = [
    "TAUS",
    "CostError",
    "Curve",
    "EmptyStudyError",
    "Instance",
    "Measure",
    "Outcome",
    "Profile",
    "ReportFileError",
    "Study",
    "Summary",
    "Target",
    "ToleranceError",
    "checked_file",
    "convergence_curves",
    "data_profiles",
    "load_matplotlib",
    "measure_costs",
    "outcomes",
    "performance_profiles",
    "performance_ratios",
    "print_table",
    "ranks",
    "read_study",
    "solved",
    "summarize",
    "write_csv",
    "write_html",
    "write_profiles",
]
