"""The plot of credit: each channel's share of the conversions under every rule, side by side, as SVG or PNG."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.files import write_atomically

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#7a1230", "#9340f0", "#1b1b6e", "#e0185f", "#424c0e")
FORMATS = (".svg", ".png")


def plot_credit(path: str | Path, names: tuple[str, ...], credit: Mapping[str, NDArray[np.float64]], what: str) -> None:
    """Draw ``credit`` [C] of each rule as bars by ``names`` [C] into a file, by its ending; ``what`` names the axis.

    The same numbers give the same file. ``ValueError`` for another ending, ``ImportError`` without matplotlib.
    """
    ending = Path(path).suffix
    if ending not in FORMATS:
        raise ValueError(f"plot is {str(path)!r}; allowed are files that end in {' or '.join(FORMATS)}")
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the plot of credit needs matplotlib: pip install 'tribid[report]'") from error
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the reader's own settings would change the file
        matplotlib.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": "credit", "font.size": 9.0, "text.parse_math": False}
        )
        figure = Figure(figsize=(max(5.2, 1.1 * len(names) + 2.0), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        _bars(figure.subplots(), names, credit, what)
        figure.legend(frameon=False, fontsize=8, ncols=4, loc="outside upper center")
        told: dict[str, Any] = (
            {"Date": None, "Creator": None, "Format": None, "Type": None} if ending == ".svg" else {"Software": None}
        )
        figure.savefig(buffer, format=ending[1:], metadata=told, dpi=150)
    write_atomically(path, buffer.getvalue())


def _bars(axes: Any, names: tuple[str, ...], credit: Mapping[str, NDArray[np.float64]], what: str) -> None:
    place, wide = np.arange(len(names)), 0.8 / max(len(credit), 1)
    for i, (rule, given) in enumerate(credit.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        at = place + (i - (len(credit) - 1) / 2.0) * wide
        axes.bar(at, given, wide, label=rule.replace("_", " "), color=colour, edgecolor="white", linewidth=0.4)
    axes.set_xticks(place, names)
    axes.set_ylabel(what)
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
