"""The pictures of a report, as SVG: profiles as steps, convergence curves with their bands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kormos_core.compare.report.svg import INK, new_figure, settings, to_svg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from kormos_core.compare.report.curves import Curve
    from kormos_core.compare.report.profiles import Profile
    from kormos_core.compare.report.style import Look
    from kormos_core.compare.report.trajectory import Measure

__all__ = ["draw_curves", "draw_data_profiles", "draw_performance_profiles"]

_WIDTHS: Final = {1: 6.0, 2: 8.6, 3: 11.0}  # inches, by the number of panels
_PANEL: Final = 3.6  # inches across, where there are more
_HEIGHT: Final = 2.35  # of the panels
_LEFT: Final = 0.78  # margins: names and numbers of the axis
_RIGHT: Final = 0.15
_TOP: Final = 0.12
_BOTTOM: Final = 0.55
_BETWEEN: Final = 0.08  # of a panel's width
_LEGEND_LINE: Final = 0.185
_LETTERS: Final = 14.0  # of a legend, to the inch
_HANDLE: Final = 10  # letters that a legend's sample of the line is wide
_WIDEST_RATIO: Final = 2.0**10
_DECADE: Final = 10.0
_MOST_BANDS: Final = 4  # more would hide each other


def draw_performance_profiles(
    panels: Mapping[Measure, Sequence[Profile]],
    looks: Mapping[str, Look],
    *,
    title: str,
) -> str:
    """Draw performance profiles, a panel for each measure.

    Parameters
    ----------
    panels : mapping of Measure to sequence of Profile
        From `performance_profiles`.
    looks : mapping of str to Look
        How the solvers are drawn.
    title : str
        What it shows, in a line.

    Returns
    -------
    str
        An ``svg`` element.
    """

    def draw(axes: Any, measure: Measure) -> None:
        profiles = panels[measure]
        ratios = [float(profile.x[-1]) for profile in profiles if profile.x.size]
        right = min(max([2.0, *ratios]), _WIDEST_RATIO) * 1.08
        _draw_steps(axes, profiles, looks, left=1.0, right=right)
        axes.set_xscale("log", base=2)
        axes.set_xlim(1.0, right)
        _ticks_of_two(axes, right)
        axes.set_xlabel(f"{measure.value}, multiple of the best")

    return _draw(list(panels), draw, _share_label, looks, _names(panels), title)


def draw_data_profiles(
    panels: Mapping[Measure, Sequence[Profile]],
    looks: Mapping[str, Look],
    *,
    title: str,
) -> str:
    """Draw data profiles, a panel for each measure.

    Parameters
    ----------
    panels : mapping of Measure to sequence of Profile
        From `data_profiles`, of costs as they are.
    looks : mapping of str to Look
        How the solvers are drawn.
    title : str
        What it shows, in a line.

    Returns
    -------
    str
        An ``svg`` element.
    """

    def draw(axes: Any, measure: Measure) -> None:
        profiles = panels[measure]
        ends = np.concatenate([profile.x for profile in profiles])
        left, right = (float(ends.min()), float(ends.max())) if ends.size else (1.0, 10.0)
        left, right = left / 1.25, max(right, left * 2.0) * 1.25
        _draw_steps(axes, profiles, looks, left=left, right=right)
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        _ticks_of_ten(axes.xaxis, left, right)
        axes.set_xlabel(measure.value)

    return _draw(list(panels), draw, _share_label, looks, _names(panels), title)


def draw_curves(
    panels: Mapping[Measure, Sequence[Curve]],
    looks: Mapping[str, Look],
    *,
    title: str,
) -> str:
    """Draw the convergence curves of one problem, a panel for each measure.

    Bands from the best run to the worst are drawn for up to four solvers.

    Parameters
    ----------
    panels : mapping of Measure to sequence of Curve
        From `convergence_curves`.
    looks : mapping of str to Look
        How the solvers are drawn.
    title : str
        What it shows, in a line.

    Returns
    -------
    str
        An ``svg`` element.
    """

    def draw(axes: Any, measure: Measure) -> None:
        curves = panels[measure]
        positive = np.concatenate([curve.x[curve.x > 0] for curve in curves])
        left = float(positive.min()) / 1.3 if positive.size else 1.0
        right = float(positive.max()) * 1.1 if positive.size else 10.0
        for curve in curves:
            has_band = curve.num_runs > 1 and len(curves) <= _MOST_BANDS
            _draw_curve(axes, curve, looks[curve.solver], left, has_band=has_band)
        axes.set_xscale("log")
        axes.set_yscale("log")
        right = max(right, 2.0 * left)
        axes.set_xlim(left, right)
        _ticks_of_ten(axes.xaxis, left, right)
        lowest = min(float(curve.low.min()) for curve in curves)
        floor = min(curve.floor for curve in curves)
        axes.set_ylim(min(lowest, 0.1) / 3.0, 3.0)
        _ticks_of_ten(axes.yaxis, min(lowest, 0.1) / 3.0, 3.0)
        if lowest <= 10.0 * floor:
            axes.axhline(floor, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
            axes.annotate(
                "rounding", (0.01, floor), xycoords=("axes fraction", "data"), xytext=(0, 2),
                textcoords="offset points", fontsize=8, color=INK,
            )  # fmt: skip
        axes.set_xlabel(measure.value)

    return _draw(list(panels), draw, _gap_label, looks, _names(panels), title)


def _draw(
    measures: Sequence[Measure],
    draw: Callable[[Any, Measure], None],
    label: Callable[[Any], None],
    looks: Mapping[str, Look],
    solvers: Sequence[str],
    title: str,
) -> str:
    width = _WIDTHS.get(len(measures), _PANEL * len(measures))
    longest = max(map(len, solvers), default=1) + _HANDLE
    columns = max(1, min(len(solvers), int(width * _LETTERS / longest)))
    lines = math.ceil(len(solvers) / columns)
    columns = math.ceil(len(solvers) / max(lines, 1))  # as many in each line
    below = _BOTTOM + _LEGEND_LINE * lines + 0.12
    height = _TOP + _HEIGHT + below
    figure = new_figure(width, height)
    with settings():
        figure.subplots_adjust(
            left=_LEFT / width,
            right=1.0 - _RIGHT / width,
            top=1.0 - _TOP / height,
            bottom=below / height,
            wspace=_BETWEEN,
        )
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            draw(axes, measure)
        label(panels[0])
        figure.legend(
            handles=[_sample(panels[0], name, looks[name]) for name in solvers],
            loc="lower left",
            ncols=columns,
            handlelength=3.0,
            columnspacing=1.6,
            borderaxespad=0.2,
        )
    return to_svg(figure, title=title)


def _draw_steps(
    axes: Any,
    profiles: Sequence[Profile],
    looks: Mapping[str, Look],
    *,
    left: float,
    right: float,
) -> None:
    for profile in profiles:
        look = looks[profile.solver]
        inside = profile.x < right
        x = np.concatenate([[left], profile.x[inside], [right]])
        share = 100.0 * np.concatenate([[profile.at(left)], profile.share[inside]])
        y = np.append(share, share[-1])
        axes.plot(
            x, y, drawstyle="steps-post", color=look.color, linestyle=look.line, linewidth=1.7,
            marker=look.marker, markersize=4.5, markevery=_marked(len(x)), clip_on=False,
        )  # fmt: skip
    axes.set_ylim(0.0, 102.0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")


def _draw_curve(axes: Any, curve: Curve, look: Look, left: float, *, has_band: bool) -> None:
    x = np.maximum(curve.x, left)  # a logarithm has no zero: the start stands at the edge
    axes.plot(
        x, curve.gap, drawstyle="steps-post", color=look.color, linestyle=look.line,
        linewidth=1.5, marker=look.marker, markersize=4.5, markevery=_marked(len(x)),
    )  # fmt: skip
    if has_band:
        axes.fill_between(
            x, curve.low, curve.high, step="post", color=look.color, alpha=0.15, linewidth=0
        )


def _marked(num_points: int) -> NDArray[np.int64]:
    """Choose the points that get a marker: the last one, and a few before."""
    marked: NDArray[np.int64] = np.unique(np.linspace(0, num_points - 1, 6).round().astype(int))
    return marked[1:] if num_points > 2 else marked


def _sample(axes: Any, name: str, look: Look) -> Any:
    """Return a line without points, for the legend."""
    lines = axes.plot(
        [], [], color=look.color, linestyle=look.line, marker=look.marker, markersize=4.5,
        linewidth=1.7, label=name,
    )  # fmt: skip
    return lines[0]


def _names(panels: Mapping[Measure, Sequence[Any]]) -> list[str]:
    return list(dict.fromkeys(line.solver for lines in panels.values() for line in lines))


def _share_label(axes: Any) -> None:
    axes.set_ylabel("share of instances solved")


def _gap_label(axes: Any) -> None:
    axes.set_ylabel("gap to the least loss")


def _ticks_of_two(axes: Any, right: float) -> None:
    """Put a tick at every power of two, or at every other where there are many."""
    powers = int(math.log2(right))
    axes.set_xticks([2.0**power for power in range(0, powers + 1, 1 if powers <= 6 else 2)])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _ticks_of_ten(axis: Any, low: float, high: float) -> None:
    """Put a tick at 1, 2, 5 times powers of ten, or at some powers where there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = 1 if last - first <= 3 else math.ceil((last - first) / 7)
    factors: tuple[float, ...] = (1.0,) if last - first > 3 else (1.0, 2.0, 5.0)
    if high / low < _DECADE:
        factors = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    powers = [power for power in range(first, last + 1) if power % step == 0]  # 1 among them
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    axis.set_ticks([tick for tick in ticks if low <= tick <= high])
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(lambda value, _: _plain(value))


def _plain(value: float) -> str:
    if 10.0 <= value < 1e6:
        return f"{value:,.0f}"
    text = f"{value:.0e}" if value < 1e-3 or value >= 1e6 else f"{value:g}"
    return text.replace("e-0", "e-").replace("e+0", "e")
