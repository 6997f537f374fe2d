"""The table as one picture: a panel for each of some measures, a part's difference and interval in each line."""

import io
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tribid.evaluation.journey.measures import MEASURES, PLACE
from tribid.evaluation.journey.table import Difference, said

SHOWN = ("RPM", "GPM", "ROI", "surplus", "CTR", "CVR", "leaving", "orders")
_COLOURS = {"gain": "#009e73", "loss": "#d55e00", "not told apart": "#667182", "unchanged": "#667182"}


def forest_svg(differences: Sequence[Difference], seeds: int) -> str:
    """The differences in percent as SVG; green where a side gains, orange where it loses, grey where not told apart."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "journey", "font.size": 8.0})
        figure = Figure(figsize=(15.0, 1.2 + 0.24 * len(differences)), layout="constrained")
        panels = figure.subplots(1, len(SHOWN), sharey=True)
        for panel, name in zip(panels, SHOWN, strict=True):
            measure = MEASURES[PLACE[name]]
            for line, difference in enumerate(differences):
                cell = difference.cells.get(name)
                if cell is None:
                    continue
                colour = _COLOURS[said(measure, cell, seeds)]
                panel.plot([cell.low, cell.high], [line, line], color=colour, linewidth=1.8)
                panel.plot([cell.point], [line], "o", color=colour, markersize=3.5)
            panel.axvline(0.0, color="#333333", linewidth=0.8)
            panel.set_xscale("symlog", linthresh=10.0)
            panel.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
            panel.set_title(f"{name} ({measure.side})")
            panel.grid(axis="x", linewidth=0.4)
            panel.spines[["top", "right"]].set_visible(False)
        labels = [f"{one.row.part} | {one.row.against}" for one in differences]
        panels[0].set_yticks(range(len(labels)), labels)
        panels[0].set_ylim(len(labels) - 0.4, -0.6)
        figure.supxlabel("difference in % of the base, 95 % interval (linear to 10 %, logarithmic beyond)")
        handles = [
            matplotlib.lines.Line2D([], [], color=_COLOURS[name], label=name)
            for name in ("gain", "loss", "not told apart")
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
        FigureCanvasSVG(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)
