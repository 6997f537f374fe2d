"""The report: results.json as one HTML file that a browser shows without asking anybody for anything.

Every number is shown with its interval, and a value is marked best only where its interval is clear of every other's.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tribid.evaluation.results import load_results
from tribid.evaluation.statistics import Interval, verdict
from tribid.files import write_atomically

if TYPE_CHECKING:
    from tribid.evaluation.plots import Look

HEADLINE = ("score", "budget_use", "over_target", "rpm", "ctr", "liquid_welfare")
"""The metrics that one looks at first."""

COLUMNS = 5
"""Contestants beside one another in one table; more of them make further tables, so that paper holds them too."""

_ACRONYMS = {"rpm", "gpm", "roi", "cpa", "ctr", "cvr"}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
_MISSING = "–"
_MINUS, _THIN = "\u2212", "\u202f"

Results = Mapping[str, Any]


def render_report(results: Results, path: str | Path) -> None:
    """Write the results (schema 1) as one HTML file, whole or not at all.

    The same results give the same bytes. Raises ImportError where the extra ``report`` is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup

        from tribid.evaluation import plots
    except ImportError as error:
        raise ImportError("the report needs jinja2 and matplotlib: pip install 'tribid[report]'") from error
    order = ranked(results)
    looks = plots.looks_of(order, results["comparison"].get("baseline"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # names of scenarios, advertisers and contestants are anybody's text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        scenario=results["scenario"],
        date=_date(results.get("created")),
        order=order,
        baseline=results["comparison"].get("baseline"),
        focal=results["protocol"]["focal"],
        days=len(results["protocol"]["eval_seeds"]),
        verdict=_verdict(results, order),
        headline=_headline(results, order),
        sides=_sides(results, order),
        split=_split(results, order),
        journey=_journey(results, order),
        plots={name: Markup(svg) for name, svg in plots.draw_plots(results, order).items()},
        legend=_legend(looks),
        learners=_legend(
            {name: look for name, look in looks.items() if any(results["learning"].get(name, {}).values())}
        ),
        palette={"light": plots.LIGHT, "dark": plots.DARK},
        facts=_facts(results),
        entrants=_entrants(results, order),
        rivals=_rivals(results["protocol"].get("rivals") or {}),
        metrics=[metric | {"label": label(metric["name"])} for metric in results["metrics"]],
        missing=_MISSING,
    )
    write_atomically(path, page)


def report_from_file(results_path: str | Path, out_path: str | Path) -> None:
    """Read results.json and write its report; ``ValueError`` names what is wrong with the file."""
    results = load_results(results_path)
    try:
        render_report(results, out_path)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"results file {results_path} does not follow schema 1: {type(error).__name__} {error}"
        ) from error


def headline_table(results: Results) -> Table:
    """The contestants and the metrics one looks at first, for the terminal; bold is clear of every other interval."""
    order = ranked(results)
    headline = _headline(results, order, brief=True)
    title = Text(f"{results['scenario']['name']}: point and 95 % interval")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("contestant", no_wrap=True, max_width=28)
    for metric in headline["metrics"]:
        arrow = {"more": " ↑", "less": " ↓"}.get(metric["better"], "")
        table.add_column(
            Text(f"{metric['label']}{arrow}".replace(" ", "\n", metric["label"].count(" "))),
            justify="right",
            overflow="fold",
        )
    for row in headline["rows"]:
        cells = [Text(row["name"])]
        for cell in row["cells"]:
            text = Text(_MISSING if cell["point"] is None else cell["point"], style="bold" if cell["best"] else "")
            if cell["point"] is not None:
                text.append(f"\n{cell['low']} – {cell['high']}", style="not bold dim")
            cells.append(text)
        table.add_row(*cells)
    return table


def ranked(results: Results) -> list[str]:
    """The contestants' names, the highest score first; those whose score is not defined come last."""
    contestants = results["contestants"]
    if not contestants:
        raise ValueError("the results hold no contestant; a report needs one or more")

    def key(name: str) -> tuple[float, str]:
        score = contestants[name]["summary"].get("score")
        return (-score["point"] if score else math.inf, name)

    return sorted(contestants, key=key)


def number(value: float | None, unit: str, *, like: float | None = None, sign: bool = False) -> str | None:
    """A number as a reader wants it, None where it is not defined; ``like`` gives the digits of another number.

    >>> number(1234.5, "currency"), number(0.0312, "share"), number(0.98765, "ratio")
    ('1,234.50', '3.12', '0.988')
    """
    if value is None or not math.isfinite(value):
        return None
    scale = 100.0 if unit == "share" else 1.0
    size = scale * abs(value if like is None or not math.isfinite(like) else like)
    digits = 2 - math.floor(math.log10(size)) if size > 0.0 else 2
    digits = 2 if unit == "currency" else min(max(digits, 1 if unit == "share" else 0), 4)
    text = f"{scale * value:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")
    return text.replace("-", _MINUS)


def label(name: str) -> str:
    """A metric's name for a reader.

    >>> label("cpa_ratio"), label("over_target")
    ('CPA ratio', 'Over target')
    """
    words = [word.upper() if word in _ACRONYMS else word for word in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _best(results: Results, order: Sequence[str], metric: Results) -> str | None:
    """Whose interval is clear of every other's on the good side, if any."""
    sign = {"more": 1.0, "less": -1.0}.get(metric.get("better") or "")
    if sign is None:
        return None
    intervals = {}
    for name in order:
        if given := results["contestants"][name]["summary"].get(metric["name"]):
            low, high = sorted((sign * given["low"], sign * given["high"]))
            intervals[name] = Interval(sign * given["point"], low, high)
    return verdict(intervals)


def _cell(interval: Results | None, unit: str, *, best: bool, brief: bool = False) -> dict[str, Any]:
    if not interval:
        return {"point": None, "low": None, "high": None, "best": False}
    point = interval["point"]
    if brief and unit == "currency" and abs(point) >= 1000.0:
        unit = "ratio"  # a terminal has no room for cents of thousands
    # Limits get the digits of the point, or of the larger limit where the point is zero.
    like = point or max(abs(interval["low"]), abs(interval["high"]))
    text = number(point, unit, like=like)
    return {
        "point": f"{text}{_THIN}%" if text and unit == "share" else text,
        "low": number(interval["low"], unit, like=like),
        "high": number(interval["high"], unit, like=like),
        "best": best,
    }


def _headline(results: Results, order: Sequence[str], *, brief: bool = False) -> dict[str, Any]:
    """The short table, a contestant a row."""
    known = {metric["name"]: metric for metric in results["metrics"]}
    metrics = [known[name] for name in HEADLINE if name in known]
    best = {metric["name"]: _best(results, order, metric) for metric in metrics}
    rows = []
    for name in order:
        summary = results["contestants"][name]["summary"]
        cells = [_cell(summary.get(m["name"]), m["unit"], best=best[m["name"]] == name, brief=brief) for m in metrics]
        rows.append({"name": name, "cells": cells})
    return {"metrics": [metric | {"label": label(metric["name"])} for metric in metrics], "rows": rows}


def _sides(results: Results, order: Sequence[str]) -> list[dict[str, Any]]:
    """The full table in blocks of a few contestants: per side its metrics, per metric a cell a contestant."""
    best = {metric["name"]: _best(results, order, metric) for metric in results["metrics"]}
    blocks = []
    for names in _blocks(order):
        sides: dict[str, list[dict[str, Any]]] = {}
        for metric in results["metrics"]:
            name, unit = metric["name"], metric["unit"]
            cells = [
                _cell(results["contestants"][who]["summary"].get(name), unit, best=best[name] == who) for who in names
            ]
            sides.setdefault(metric["side"], []).append(metric | {"label": label(name), "cells": cells})
        blocks.append({"names": names, "sides": sides})
    return blocks


def _split(results: Results, order: Sequence[str]) -> list[dict[str, Any]]:
    """Each focal advertiser's mean score in blocks of contestants; ``heat`` is 0 for the lowest, 100 for the best."""
    traits, focal = results["scenario"]["advertisers"], results["protocol"]["focal"]
    means = {
        who: {name: _mean(run["advertisers"].get(name, {}).get("score") for run in given["runs"]) for name in focal}
        for who, given in results["contestants"].items()
    }
    found = [mean for row in means.values() for mean in row.values() if mean is not None]
    rows = sorted(focal, key=lambda name: (traits.get(name, {}).get("objective") or "", focal.index(name)))
    blocks = []
    for names in _blocks(order):
        table = []
        for name in rows:
            trait = traits.get(name, {})
            cells = [
                {"text": number(means[who][name], "ratio"), "heat": _heat(means[who][name], found)} for who in names
            ]
            objective = (trait.get("objective") or _MISSING).replace("_", " ")
            budget = number(trait.get("budget"), "currency")
            table.append({"name": name, "objective": objective, "budget": budget, "cells": cells})
        blocks.append({"names": names, "rows": table})
    return blocks


def _journey(results: Results, order: Sequence[str]) -> dict[str, Any] | None:
    """How the best contestant's consumers moved between stages, and what its scenes brought; None without stages.

    Rows of fewer than 50 users hold no numbers: ``cells`` is None there.
    """
    given = results["contestants"][order[0]].get("journey")
    if not given:
        return None
    flows = [
        {"name": row["stage"], "users": row["users"], "pairs": row["pairs"],
         "cells": row["to"] and [number(share, "share") for share in row["to"]]}
        for row in given["flows"]
    ]  # fmt: skip
    units = {
        "pages": "count", "ctr": "share", "cvr": "share", "gmv_per_page": "currency", "revenue": "currency",
        "revenue_per_page": "currency",
    }  # fmt: skip
    scenes = [
        {"name": row["name"], "users": row["users"],
         "cells": row["users"] and [
             f"{row[key]:,.0f}" if unit == "count" else number(row[key], unit) for key, unit in units.items()
         ]}
        for row in given["scenes"]
    ]  # fmt: skip
    return {"name": order[0], "days": given["days"], "stages": given["stages"], "flows": flows, "scenes": scenes}


def _heat(mean: float | None, among: Sequence[float]) -> int:
    if mean is None:
        return 0
    low, high = min(among), max(among)
    return round(100.0 * (mean - low) / (high - low)) if low < high else 50


def _mean(values: Any) -> float | None:
    found = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(found) / len(found) if found else None


def _blocks(order: Sequence[str]) -> list[list[str]]:
    """The contestants in groups of nearly one size, none larger than a table holds."""
    count = math.ceil(len(order) / COLUMNS)
    edges = [round(i * len(order) / count) for i in range(count + 1)]
    return [list(order[start:stop]) for start, stop in pairwise(edges)]


def _verdict(results: Results, order: Sequence[str]) -> dict[str, Any]:
    """What may be said: a title, the reason, and a line for every difference to the baseline."""
    comparison = results["comparison"]
    winner = comparison.get("winner")
    if winner:
        title, reason = f"{winner} wins", "Its score is the highest, and its interval lies above every other’s."
    elif len(order) < 2:
        title, reason = "No winner is named", f"{order[0]} ran alone, so there is nobody to compare it with."
    else:
        title = "No winner is named"
        reason = f"{order[0]} has the highest score, but its interval overlaps at least one other’s."
    lines = []
    for name in order:
        if not (given := comparison["differences"].get(name)):
            continue
        said = "better than" if given["low"] > 0 else "worse than" if given["high"] < 0 else "not told apart from"
        texts = {key: f"{given[key]:+.3f}".replace("-", _MINUS) for key in ("point", "low", "high")}
        lines.append({"name": name, "said": said, "kind": said.split()[0]} | texts)
    return {"title": title, "reason": reason, "lines": lines, "statement": comparison["statement"]}


def _legend(looks: "Mapping[str, Look]") -> list[dict[str, str]]:
    """The contestants that have a colour, and one line for the crowd."""
    items = [
        {"name": name, "color": look.css, "outline": look.outline}
        for name, look in looks.items()
        if look.hue is not None
    ]
    grey = [look for look in looks.values() if look.hue is None]
    if grey:
        items.append({"name": f"{len(grey)} others", "color": grey[0].css, "outline": grey[0].outline})
    return items


def _facts(results: Results) -> list[tuple[str, str | None]]:
    """How it was measured, as terms and descriptions."""
    protocol, contestants = results["protocol"], results["contestants"].values()
    runs = sum(len(contestant["runs"]) for contestant in contestants)
    focal, everybody = protocol["focal"], results["scenario"]["advertisers"]
    seconds, days = results.get("seconds"), protocol["eval_seeds"]
    return [
        ("Protocol", "Every contestant drives the same focal advertisers on the same held-out days, with the same "
                     "users and the same chance; everybody else bids by fixed rules."),
        ("Focal advertisers", f"{len(focal)} of {len(everybody)}: {', '.join(focal)}"),
        ("Evaluation days", f"{len(days)} (seeds {_ranges(days)}); {runs} runs in all"),
        ("Statistic", protocol.get("statistic")),
        ("Scenario", f"{results['scenario']['name']}, hash {results['scenario'].get('hash') or _MISSING}"),
        ("Command", results.get("command")),
        ("Commit", results.get("commit")),
        ("Version", f"tribid {results['tribid']}" if results.get("tribid") else None),
        ("Machine", results.get("machine")),
        ("Duration", None if seconds is None else _duration(seconds)),
    ]  # fmt: skip


def _entrants(results: Results, order: Sequence[str]) -> list[dict[str, Any]]:
    """Who took part: kind, training, seeds and runs."""
    rows = []
    for name in order:
        given = results["contestants"][name]
        seeds = sorted({run["train_seed"] for run in given["runs"] if run["train_seed"] is not None})
        trained = "; ".join(
            f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in sorted(given["trained_on"].items())
        )
        row = {"name": name, "kind": given["kind"], "trained_on": trained}
        rows.append(row | {"seeds": _ranges(seeds), "runs": len(given["runs"])})
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _rivals(rivals: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The advertisers that each fixed rule drives."""
    driven: dict[str, list[str]] = {}
    for name, bidder in rivals.items():
        driven.setdefault(bidder, []).append(name)
    return sorted(driven.items())


def _ranges(seeds: Sequence[int]) -> str:
    """Whole numbers, runs of them shortened: 1, 2, 3, 7 is ``1–3, 7``."""
    groups: list[list[int]] = []
    for seed in sorted(seeds):
        if groups and seed == groups[-1][-1] + 1:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    return ", ".join(f"{group[0]}–{group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)


def _date(created: str | None) -> str | None:
    if created is None:
        return None
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = " UTC" if moment.tzinfo is not None and not moment.utcoffset() else ""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M}{zone}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
