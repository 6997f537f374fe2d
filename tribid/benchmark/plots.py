"""A run's pictures: how time grows, and the bare auction under the machine's roof. SVG or PNG, as the suffix says.

Nothing here touches pyplot or the caller's matplotlib settings.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tribid.benchmark.bare import CANDIDATES, counted_work
from tribid.benchmark.results import Curve, Results
from tribid.files import replacing

GROWTH, ROOFLINE = "benchmark-growth.svg", "benchmark-roofline.svg"

_BLUE, _RED, _GREY = "#0072b2", "#d55e00", "#667182"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "tribid", "font.family": ["DejaVu Sans"], "font.size": 9.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#d8dde4",
    "grid.linewidth": 0.7, "axes.axisbelow": True, "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip


def write_plots(results: Results, folder: Path) -> list[Path]:
    """The pictures that the run has figures for, in ``folder``; their paths."""
    written = []
    if results.curves:
        written.append(folder / GROWTH)
        growth_plot(results.curves, written[-1])
    if all(results.figure(name) for name in ("bare_48", "multiply_max")):
        written.append(folder / ROOFLINE)
        roofline_plot(results, written[-1])
    return written


def growth_plot(curves: list[Curve], path: Path) -> None:
    """A panel for each curve: medians, with the least and the most as bars; a dashed line grows as x does."""
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(8.0, 6.0), layout="constrained")
        for place, curve in enumerate(curves):
            _grow(canvas.add_subplot(-(-len(curves) // 2), 2, place + 1), curve)
        save(canvas, path)


def roofline_plot(results: Results, path: Path) -> None:
    """Operations a second against operations per byte: the bare auctions under what memory and arithmetic allow."""
    read, peak = results.figure("read_bandwidth"), results.figure("multiply_max")
    assert read and peak, "a run always has its yardsticks"
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.0, 4.5), layout="constrained")
        axes = canvas.add_subplot()
        x = np.geomspace(0.25, 32, 200)
        axes.loglog(x, np.minimum(read.value * x, peak.value), color=_GREY)
        axes.text(
            0.35, read.value * 0.44, f"memory: {read.value:.0f} GB/s", rotation_mode="anchor", color=_GREY,
            rotation=float(np.degrees(np.arctan(read.value))), transform_rotates_text=True,
        )  # fmt: skip
        axes.annotate(
            f"float64 multiply and maximum: {peak.value:.0f} Gop/s", (32, peak.value), (0, 4), ha="right",
            textcoords="offset points", color=_GREY,
        )  # fmt: skip
        for n in CANDIDATES:
            figure, work = results.figure(f"bare_{n}"), counted_work(n)
            if figure is None:
                continue
            speed = figure.value * work.operations / 1e9
            axes.plot(work.operations / work.bytes, speed, "o", color=_BLUE)
            axes.annotate(
                f"N = {n:,}", (work.operations / work.bytes, speed), (6, -10), textcoords="offset points", color=_BLUE
            )
        axes.set(xlabel="operations per byte of predictions", ylabel="Gop/s of one core", title="The bare auction")
        _plain_numbers(axes)
        save(canvas, path)


def _grow(axes: Axes, curve: Curve) -> None:
    x, y, low, high = (
        np.array([getattr(point, key) for point in curve.points]) for key in ("x", "seconds", "low", "high")
    )
    axes.errorbar(x, y, [y - low, high - y], fmt="o-", color=_BLUE, capsize=2, markersize=4)
    axes.plot(x, y[-1] * x / x[-1], "--", color=_RED, linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel=curve.x, ylabel=curve.y)
    _plain_numbers(axes)


def _plain_numbers(axes: Axes) -> None:
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def save(canvas: Canvas, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with replacing(path) as temporary:
        canvas.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
