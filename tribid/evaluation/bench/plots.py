"""The comparison as one picture: a panel for each market, a method's score and interval in each row."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tribid.evaluation.bench.table import Row

_COLOURS = {"learnt": "#d55e00", "optimal control": "#009e73", "controller": "#0072b2", "rule": "#667182"}


def scores_svg(tables: Mapping[str, Sequence[Row]], exponent: float) -> str:
    """The scores of every market as SVG; methods in the order of the first market, colours by kind."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 8.0})
        order = [row.method for row in next(iter(tables.values())) if row.scores]
        columns = min(4, len(tables))
        lines = -(-len(tables) // columns)
        size = (2.0 + 2.4 * columns, lines * (0.9 + 0.2 * max(3, len(order))))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for panel, (market, rows) in zip(panels, tables.items(), strict=False):
            found = {row.method: row for row in rows if row.scores}
            for place, method in enumerate(order):
                if method not in found:
                    continue
                row = found[method]
                score, colour = row.scores[exponent], _COLOURS.get(row.kind, "#9340f0")
                panel.plot([score.low, score.high], [place, place], color=colour, linewidth=2.0)
                panel.plot([score.point], [place], "o", color=colour, markersize=4.0)
            panel.set_title(market)
            panel.set_yticks(range(len(order)), order)
            panel.grid(axis="x", linewidth=0.4)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylim(len(order) - 0.4, -0.6)
        for panel in panels[len(tables) :]:
            panel.set_visible(False)
        figure.supxlabel(f"score (exponent {exponent:g}), interquartile mean and 95 % interval")
        handles = [matplotlib.lines.Line2D([], [], color=colour, label=kind) for kind, colour in _COLOURS.items()]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
        FigureCanvasSVG(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)
