"""A load's picture: its percentiles on a scale of nines, and its latencies over time. SVG or PNG, as the suffix says.

Nothing here touches pyplot or the caller's matplotlib settings.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from tribid.benchmark.loadtest.generator import Loaded
from tribid.benchmark.loadtest.samples import Samples
from tribid.benchmark.plots import STYLE, save

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#667182"
_NINES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_WINDOWS = 120
"""Parts of the time axis, each with its median, its 99th percentile and its worst."""


def load_plot(loaded: Loaded, path: Path) -> None:
    """Write the picture of a load. ``ValueError`` for another suffix than .svg and .png, and for a load without samples."""
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"plot is {path}; allowed is a file that ends in .svg or .png")
    if not len(loaded.samples.due):
        raise ValueError("the load had no request to plot; allowed is one at least")
    load = loaded.load
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(8.0, 6.5), layout="constrained")
        upper, lower = canvas.subplots(2, 1)
        _curve(upper, loaded.samples)
        _over_time(lower, loaded.samples, load.warmup)
        upper.set_title(f"{load.rate:g} requests a second, {load.arrivals} arrivals, {load.seconds:g} s")
        save(canvas, path)


def _curve(axes: Axes, samples: Samples) -> None:
    for words, seconds, colour in (
        ("latency, from when it was due", samples.latency, _BLUE),
        ("service, from when it was sent", samples.service, _ORANGE),
        ("generator late", samples.late, _GREY),
    ):
        share, value = _percentile_curve(seconds)
        axes.plot(1 / (1 - share), value, color=colour, label=words)
    shown = [one for one in _NINES if 1 / (1 - one) <= len(samples.due) + 1]
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="ms")
    axes.set_xticks([1 / (1 - one) for one in shown], [f"{100 * one:g}%" for one in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False)


def _percentile_curve(seconds: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the requests in (0, 1), spaced by nines, and the milliseconds that so many kept."""
    share = 1 - np.geomspace(1, 1 / (len(seconds) + 1), 300)
    return share, np.maximum(1e3 * np.quantile(seconds, share, method="inverted_cdf"), 1e-3)


def _over_time(axes: Axes, samples: Samples, warmup: float) -> None:
    place = samples.due - warmup
    edges = np.linspace(0, max(float(place.max()), 1e-9), min(_WINDOWS, max(2, len(place) // 200)) + 1)
    part = np.clip(np.searchsorted(edges, place, side="right") - 1, 0, len(edges) - 2)
    latency, middle = 1e3 * samples.latency, (edges[1:] + edges[:-1]) / 2
    filled = [k for k in range(len(middle)) if (part == k).any()]
    for words, percent, colour in (("worst", 100, _GREY), ("99 of 100", 99, _ORANGE), ("median", 50, _BLUE)):
        of_part = [np.percentile(latency[part == k], percent, method="inverted_cdf") for k in filled]
        axes.plot(middle[filled], of_part, color=colour, label=words, linewidth=1.2)
    bad = ~samples.answered
    if bad.any():
        axes.plot(place[bad], latency[bad], "x", color="black", markersize=4, label="failed")
    axes.set(yscale="log", xlabel="seconds since the warm-up", ylabel="latency, ms")
    axes.legend(frameon=False, ncols=4)
