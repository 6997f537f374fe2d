"""The report's plots: matplotlib figures as SVG that takes its colours from the page and is the same in every run.

Nothing here touches pyplot or the caller's matplotlib settings. Text stays text, so that names in every script show
in the reader's own fonts. Colours become CSS variables (``--ink``, ``--c0``, ...) with the light ones as fallback, so
a plot follows the page into dark mode. A contestant keeps its colour and its marker in every plot.
"""

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter, StrMethodFormatter

LIGHT = ("#0072b2", "#d55e00", "#009e73", "#7a1230", "#9340f0", "#1b1b6e", "#e0185f", "#424c0e")
DARK = ("#56b0ec", "#ff8b45", "#35cfa3", "#f1e04a", "#8f7bfa", "#d0f5b8", "#f54d6d", "#f3a6e0")
"""The contestants' colours on a light and a dark page, after Okabe and Ito; markers say the same as colours."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "*", ">", "h")

CROWD = 12
"""With more contestants than this, lines and crosses show the leaders and the baseline in colour, the rest in grey."""

LEADERS = 7

_INK, _MUTED, _RULE, _CARD = "#1c2431", "#667182", "#d8dde4", "#fdfdfc"
_VARIABLES = {_INK: "ink", _MUTED: "muted", _RULE: "rule", _CARD: "card"} | {c: f"c{i}" for i, c in enumerate(LIGHT)}
_FAINT: Any = {"color": _MUTED, "linewidth": 0.7, "alpha": 0.45}
_WIDTH = 5.2  # inches; narrow, so that the text is readable where the page gives a plot 360 pixels
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: text is measured alike on every machine
    "font.size": 9.0,
    "text.parse_math": False,  # a name may hold dollar signs
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": _RULE,
    "grid.linewidth": 0.7,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


class Look(NamedTuple):
    """How a contestant is drawn; ``hue`` is its colour's place in the palette, None for one of the crowd."""

    hue: int | None
    marker: str
    dashed: bool = False

    @property
    def color(self) -> str:
        """The light colour; on the page it is the variable ``--c{hue}``."""
        return _MUTED if self.hue is None else LIGHT[self.hue]

    @property
    def css(self) -> str:
        """The colour as the page's own style sheet knows it."""
        return "var(--muted)" if self.hue is None else f"var(--c{self.hue})"

    @property
    def outline(self) -> str:
        """The marker as an SVG path in a box of 16 by 16, for the legend."""
        shape = MarkerStyle(self.marker)
        points = shape.get_path().transformed(shape.get_transform()).to_polygons(closed_only=True)[0]
        box = np.asarray(points) * (6.0 if self.marker == "*" else 9.0) * (1.0, -1.0) + 8.0
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in box) + "Z"


_CROWD_LOOK = Look(None, "o")


def looks_of(order: Sequence[str], baseline: str | None) -> dict[str, Look]:
    """Each contestant's look; the same names get the same looks, whoever leads, unless they are a crowd."""
    shown = list(order)
    if len(order) > CROWD:
        shown = list(order[:LEADERS])
        if baseline in order and baseline not in shown:
            shown[-1] = str(baseline)
    markers = islice(cycle(MARKERS), len(shown))
    looks = {
        name: Look(i % len(LIGHT), marker, dashed=i >= len(LIGHT))
        for i, (name, marker) in enumerate(zip(sorted(shown), markers, strict=True))
    }
    return {name: looks.get(name, _CROWD_LOOK) for name in order}


def draw_plots(results: Mapping[str, Any], order: Sequence[str]) -> dict[str, str]:
    """Every plot that the results have numbers for, as inline SVG by name; ``order`` is best contestant first."""
    drawers: dict[str, Callable[..., tuple[Figure, str] | None]] = {
        "score": _score,
        "differences": _differences,
        "pacing": _pacing,
        "multiplier": _multiplier,
        "sides": _sides,
        "learning": _learning,
        "flows": _flows,
    }
    looks = looks_of(order, results["comparison"].get("baseline"))
    plots = {}
    for name, drawer in drawers.items():
        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # the reader's own settings would change the file
            matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": name})
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has it
                drawn = drawer(results, looks)
                if drawn is not None:
                    plots[name] = inline_svg(*drawn, prefix=name)
    return plots


def inline_svg(figure: Figure, alt: str, prefix: str) -> str:
    """The figure as an ``<svg>`` for an HTML page: ids begin with ``prefix``, colours are variables, no metadata."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)

    def own(tag: re.Match[str]) -> str:
        text = re.sub(r'\bid="', f'id="{prefix}-', tag[0])
        text = re.sub(r'(?:xlink:)?href="#|url\(#', lambda found: f"{found[0].removeprefix('xlink:')}{prefix}-", text)
        return re.sub(
            r"#[0-9a-f]{6}\b", lambda c: f"var(--{_VARIABLES[c[0]]},{c[0]})" if c[0] in _VARIABLES else c[0], text
        )

    svg = re.sub(r"<[^>]*>", own, svg)  # tags only: a name may look like an id
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box, "matplotlib writes a viewBox"
    opening = f'<svg role="img" aria-label="{html.escape(alt)}" {box[0]}>'
    return re.sub(r"\n\s*\n", "\n", opening + svg[svg.index(">") + 1 :]).strip()


def short(name: str, room: int = 22) -> str:
    """The name, with its middle left out where it is too long for a plot.

    >>> short("independent_ppo_seven_seeds", 12)
    'indepe…seeds'
    """
    if len(name) <= room:
        return name
    tail = (room - 1) // 2
    return f"{name[: room - 1 - tail]}…{name[-tail:]}"


def _score(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    baseline = results["comparison"].get("baseline")
    scores = {name: results["contestants"][name]["summary"].get("score") for name in looks}
    drawn = _forest({name: score for name, score in scores.items() if score}, looks, "score", "{:.3f}", baseline)
    return drawn and (drawn[0], f"Dot plot of the score with its 95 % interval. {drawn[1]}")


def _differences(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    given, baseline = results["comparison"]["differences"], str(results["comparison"]["baseline"])
    ordered = {name: given[name] for name in looks if given.get(name)}
    drawn = _forest(ordered, looks, f"score minus that of {short(baseline)}, same days", "{:+.3f}", None)
    if drawn is None:
        return None
    drawn[0].axes[0].axvline(0.0, color=_INK, linewidth=1.1)
    return drawn[0], f"Dot plot of paired score differences to {baseline} with 95 % intervals. {drawn[1]}"


def _forest(
    intervals: Mapping[str, Any], looks: Mapping[str, Look], label: str, form: str, baseline: str | None
) -> tuple[Figure, str] | None:
    """One dot and one interval a row, in the order given, and the same numbers in words."""
    if not intervals:
        return None
    figure, axes = _figure(0.75 + 0.27 * max(3, len(intervals)))
    for row, (name, interval) in enumerate(intervals.items()):
        look = looks[name]
        axes.plot([interval["low"], interval["high"]], [row, row], color=look.color, linewidth=2.2)
        axes.plot([interval["point"]], [row], marker=look.marker, color=look.color, markersize=6.5)
        text = form.format(interval["point"]).replace("-", "\u2212")
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center")
    names = [short(name) + (" *" if name == baseline else "") for name in intervals]
    axes.set_yticks(range(len(intervals)), names)
    axes.set_ylim(max(3, len(intervals)) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.08)
    axes.set_xlabel(label)
    words = [f"{name} {form.format(i['point'])} ({form.format(i['low'])} to {form.format(i['high'])})"
             for name, i in intervals.items()]  # fmt: skip
    return figure, "; ".join(words) + "."


def _pacing(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    drawn = _day(results, looks, "spent")
    if drawn is None:
        return None
    axes = drawn.axes[0]
    plan = next((c["curves"]["plan"] for c in results["contestants"].values() if c["curves"].get("plan")), None)
    if plan:
        axes.plot(*_hours(plan, cumulative=True), color=_INK, linewidth=1.3, linestyle=(0, (1.5, 1.8)), zorder=4)
    axes.set_ylabel("focal budgets spent")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(bottom=0.0)
    spent = {name: _floats(results["contestants"][name]["curves"].get("spent") or []) for name in looks}
    words = [f"{name} {_percent(curve[len(curve) // 2 - 1])} and {_percent(curve[-1])}"
             for name, curve in spent.items() if len(curve)]  # fmt: skip
    return drawn, f"Lines: share of the focal budgets spent over the day. By noon and by midnight: {'; '.join(words)}."


def _multiplier(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    drawn = _day(results, looks, "multiplier")
    if drawn is None:
        return None
    drawn.axes[0].set_ylabel("mean bid multiplier")
    curves = {name: results["contestants"][name]["curves"].get("multiplier") for name in looks}
    words = [f"{name} {np.nanmean(_floats(curve)):.2f}" for name, curve in curves.items() if curve]
    return drawn, f"Lines: the mean multiplier of the focal bids over the day. Mean of the day: {'; '.join(words)}."


def _day(results: Mapping[str, Any], looks: Mapping[str, Look], curve: str) -> Figure | None:
    """A line a contestant over the hours of the day, the leaders drawn last."""
    curves = {name: results["contestants"][name]["curves"].get(curve) for name in looks}
    if not any(curves.values()):
        return None
    figure, axes = _figure(3.0)
    coloured = [name for name in looks if looks[name].hue is not None]
    for name in sorted(looks, key=lambda name: looks[name].hue is not None):
        if not curves[name]:
            continue
        hours, values = _hours(curves[name], cumulative=curve == "spent")
        if looks[name].hue is None:
            axes.plot(hours, values, **_FAINT)
            continue
        step = max(1, len(hours) // 6)  # markers are staggered: lines that lie on one another can still be told apart
        first = round(coloured.index(name) * step / len(coloured))
        axes.plot(hours, values, markevery=(first, step), **_line(looks[name]))
    axes.set_xlim(0, 24)
    axes.set_xticks([0, 6, 12, 18, 24])
    axes.set_xlabel("hour of the day")
    return figure


def _sides(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    summaries = {name: results["contestants"][name]["summary"] for name in looks}
    drawn = {name: s for name, s in summaries.items() if s.get("revenue") and s.get("value")}
    if not drawn:
        return None
    figure, axes = _figure(3.2)
    points = [s["relevance"]["point"] for s in drawn.values() if s.get("relevance")]
    shades = matplotlib.colormaps["cividis"].resampled(9)
    scale = Normalize(min(points), max(points)) if points and min(points) < max(points) else None
    words = []
    for name, s in sorted(drawn.items(), key=lambda item: looks[item[0]].hue is not None):
        look, x, y, relevance = looks[name], s["revenue"], s["value"], s.get("relevance")
        faint = 0.5 if look.hue is None else 1.0
        axes.plot([x["low"], x["high"]], [y["point"]] * 2, color=look.color, linewidth=1.3, alpha=faint)
        axes.plot([x["point"]] * 2, [y["low"], y["high"]], color=look.color, linewidth=1.3, alpha=faint)
        fill = shades(scale(relevance["point"])) if scale and relevance else _CARD
        size = 8.0 if look.hue is not None else 5.0
        axes.plot([x["point"]], [y["point"]], marker=look.marker, markersize=size, markerfacecolor=fill,
                  markeredgecolor=look.color, markeredgewidth=1.4)  # fmt: skip
        said = f"relevance {relevance['point']:.3g}" if relevance else "relevance not defined"
        words.append(f"{name}: revenue {x['point']:,.0f}, focal value {y['point']:,.0f}, {said}")
    axes.set_xlabel("platform: revenue")
    axes.set_ylabel("advertisers: focal value")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if scale:
        bar = figure.colorbar(matplotlib.cm.ScalarMappable(scale, shades), ax=axes, aspect=28, pad=0.03)
        bar.set_label("user: relevance")
        bar.ax.grid(visible=False)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
    return figure, f"Scatter plot of the three sides. {'; '.join(words)}."


def _learning(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    given = results["learning"]
    curves = [(name, given[name]) for name in sorted(given) if any(given[name].values())]
    if not curves:
        return None
    figure, axes = _figure(3.0)
    words = []
    for name, seeds in curves:
        look = looks.get(name, _CROWD_LOOK)
        for seed, steps in sorted(seeds.items()):
            if steps:
                scores = _floats([step["score"] for step in steps])
                every = max(1, len(steps) // 8)
                style = _FAINT if look.hue is None else _line(look) | {"markevery": every}
                axes.plot([step["steps"] for step in steps], scores, **style)
                words.append(f"{name}, seed {seed}: {scores[0]:.3f} to {scores[-1]:.3f}")
    axes.set_xlabel("training steps")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    return figure, f"Lines: score over training steps, one a training seed. First to last: {'; '.join(words)}."


def _flows(results: Mapping[str, Any], looks: Mapping[str, Look]) -> tuple[Figure, str] | None:
    """A heat map of the best contestant's stage flows; shades by the share's root, for most pairs stay put.

    Cells are paths and their colours fixed: the page loads no image, and a cell is the same on a light and a dark page.
    """
    journey = results["contestants"][next(iter(looks))].get("journey")
    if not journey:
        return None
    stages, rows = journey["stages"], journey["flows"]
    shares = np.array([row["to"] or [np.nan] * len(stages) for row in rows], np.float64)
    figure, axes = _figure(3.4)
    edges = np.arange(len(stages) + 1) - 0.5
    axes.pcolormesh(edges, edges, np.ma.masked_invalid(np.sqrt(shares)), cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    words = []
    for row, own in enumerate(rows):
        for column, share in enumerate(own["to"] or []):
            if share is None:
                axes.text(column, row, "hidden", ha="center", va="center", color=_MUTED)
                continue
            text = "0" if share == 0 else f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.1f}"
            dark = np.sqrt(share) > 0.6
            axes.text(column, row, text, ha="center", va="center", color="#fdfdfd" if dark else "#1c2432")
        if own["to"] is None:
            axes.text((len(stages) - 1) / 2, row, "too few users", ha="center", va="center", color=_MUTED)
            words.append(f"{own['stage']}: too few users")
        elif (stayed := own["to"][row]) is None:
            words.append(f"{own['stage']}: how many stayed is hidden")
        else:
            words.append(f"{own['stage']}: {100 * (1.0 - stayed):.2g} % moved on")
    axes.set_xticks(range(len(stages)), stages)
    axes.set_yticks(range(len(stages)), [row["stage"] for row in rows])
    axes.set_xlabel("stage at the day's end, % of the row")
    axes.set_ylabel("stage at its start")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return figure, f"Heat map of the stage flows of a day. {'; '.join(words)}."


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _line(look: Look) -> dict[str, Any]:
    style = (0, (5, 1.6)) if look.dashed else "solid"
    return {"color": look.color, "marker": look.marker, "markersize": 4.5, "linestyle": style}


def _hours(curve: Sequence[float | None], *, cumulative: bool) -> tuple[Any, Any]:
    """The hours of a curve's ticks and its values; a running total is 0 at midnight and known at each tick's end."""
    values = _floats(curve)
    ticks = 24.0 * np.arange(len(curve) + 1) / len(curve)
    return (ticks, np.concatenate([[0.0], values])) if cumulative else (ticks[:-1], values)


def _floats(curve: Sequence[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in curve], dtype=np.float64)


def _percent(share: float) -> str:
    return "not defined" if np.isnan(share) else f"{100 * share:.0f} %"


def _thousands(value: float, _: int) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"
