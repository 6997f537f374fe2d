"""The front of two sides and where the floors lie, as inline SVG for a report."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tribid.evaluation.floors import Mixture
from tribid.evaluation.plots import LIGHT, inline_svg

_WIDTH, _HEIGHT = 5.2, 3.2
_INK, _MUTED = "#1c2431", "#667182"  # what ``inline_svg`` makes variables of the page
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "floors",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.edgecolor": _MUTED,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_front(points: Sequence[Mixture], over: str, chosen: Mixture | None = None) -> str:
    """The best of one side by the floor of ``over``, with the floor's price beneath it, as inline SVG.

    ``chosen`` is marked, with its floor as a dashed line. ``ValueError`` for fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"points has {len(points)} mixtures; allowed is two or more to draw a front")
    side = points[0].side
    floors = [point.floors[over] for point in points]
    best, price = [point.reached[side] for point in points], [point.price[over] for point in points]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        figure.patch.set_facecolor("none")
        front, prices = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        front.plot(floors, best, color=LIGHT[0], marker="o", markersize=4.0)
        prices.step(floors, price, color=LIGHT[1], where="mid")
        if chosen is not None:
            front.axvline(chosen.floors[over], color=LIGHT[2], linestyle=(0, (5, 1.6)))
            front.plot([chosen.reached[over]], [chosen.reached[side]], color=LIGHT[2], marker="D", markersize=7.0)
        front.set_ylabel(f"best {side} index")
        prices.set_ylabel("price of floor")
        prices.set_xlabel(f"floor of the {over} index")
        for axes in (front, prices):
            axes.set_facecolor("none")
            axes.yaxis.set_major_locator(MaxNLocator(4))
        words = "; ".join(f"{f:.4g}: {b:.4g} at price {p:.3g}" for f, b, p in zip(floors, best, price, strict=True))
        return inline_svg(figure, f"Line: the best {side} index by the floor of the {over} index. {words}.", "floors")
