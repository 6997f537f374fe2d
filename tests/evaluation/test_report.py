import io
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from rich.console import Console

from tribid.evaluation.plots import CROWD, LIGHT, inline_svg, looks_of, short
from tribid.evaluation.report import headline_table, label, number, ranked, render_report, report_from_file
from tribid.evaluation.results import save_results
from tribid.evaluation.statistics import Interval, verdict
from tribid.evaluation.welfare import METRICS

LEVELS = {
    "revenue": 9400.0, "rpm": 31.2, "gpm": 210.0, "take_rate": 0.149, "fill": 0.93, "score": 0.8, "value": 5200.0,
    "surplus": 880.0, "roi": 6.4, "over_target": 0.25, "cpa_ratio": 0.94, "budget_use": 0.91, "exhausted_hour": 20.6,
    "hindsight_share": 0.84, "gini": 0.21, "ctr": 0.0312, "cvr": 0.041, "relevance": 0.127, "ad_load": 3.4,
    "leave_rate": 0.082, "social_welfare": 12600.0, "liquid_welfare": 10900.0,
}  # fmt: skip
NAMES = {"truthful": -0.16, "pid": -0.03, "linear_program": 0.02, "shared_ppo": 0.11, "independent_ppo": 0.035}
OBJECTIVES = ("max_clicks", "max_conversions", "max_gmv", "target_cpa", "target_roas")


def sample_results(names: dict[str, float] | None = None, *, width: float = 0.012, seed: int = 0) -> dict[str, Any]:
    """A plausible results.json: the contestants by their lift, 8 focal of 16 shops, 96 ticks, 2 training seeds."""
    names = NAMES if names is None else names
    rng = np.random.default_rng(seed)
    advertisers = {
        f"shop_{i:02d}": {"objective": OBJECTIVES[i % 5], "budget": float(round(rng.uniform(200, 2200), 2))}
        for i in range(16)
    }
    focal = list(advertisers)[:8]
    baseline = next(iter(names))
    contestants = {name: _contestant(name, lift, width, list(advertisers), rng) for name, lift in names.items()}
    winner = verdict({name: Interval(**given["summary"]["score"]) for name, given in contestants.items()})
    gains = {name: lift - names[baseline] for name, lift in names.items() if name != baseline}
    return {
        "schema": 1, "tribid": "0.1.0", "created": "2026-07-28T14:03:00+00:00",
        "command": "tribid evaluate feed --contestants truthful,pid", "commit": "0123456789ab+",
        "machine": "Linux x86_64, 16 cores, Python 3.12.4, numpy 2.3.1", "seconds": 412.3,
        "scenario": {"name": "feed", "hash": "9f2c41d07be3", "advertisers": advertisers,
                     "description": "An evening-heavy feed of four ad slots a page; sixteen shops, mixed goals."},
        "protocol": {"focal": focal, "eval_seeds": list(range(1_000_000, 1_000_010)), "statistic": "interquartile mean",
                     "rivals": {name: "pid" if i % 2 else "truthful" for i, name in enumerate(list(advertisers)[8:])}},
        "metrics": [metric._asdict() for metric in METRICS],
        "contestants": contestants,
        "comparison": {"baseline": baseline, "winner": winner, "differences": {
                           name: {"point": x, "low": x - width, "high": x + width} for name, x in gains.items()},
                       "statement": f"{winner} has the highest score." if winner else "No winner is named."},
        "learning": {name: {"0": _learning(lift), "1": _learning(lift + 0.01)}
                     for name, lift in names.items() if name.endswith("ppo")},
    }  # fmt: skip


def _learning(lift: float) -> list[dict[str, float]]:
    return [{"steps": 20_000 * k, "score": 0.55 + lift + 0.25 * (1 - math.exp(-k / 4))} for k in range(16)]


def _contestant(name: str, lift: float, width: float, shops: list[str], rng: np.random.Generator) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for metric in METRICS:
        sign = -1.0 if metric.better == "less" else 1.0
        spread = 1.0 if metric.name == "score" else float(rng.uniform(0.1, 0.9))
        point = LEVELS[metric.name] * (1.0 + sign * lift * spread)
        if metric.unit == "share":
            point = min(point, 0.995)
        half = LEVELS[metric.name] * width * float(rng.uniform(0.7, 1.4))
        summary[metric.name] = {"point": point, "low": point - half, "high": point + half}
    hours = np.arange(1, 97) / 96.0
    plan = np.cumsum(0.3 + np.sin(np.pi * hours) ** 2 + 0.8 * np.exp(-(((hours - 0.85) / 0.07) ** 2)))
    plan /= plan[-1]
    trained = name.endswith("ppo")
    runs = [
        {"train_seed": train, "eval_seed": 1_000_000 + day, "sides": {},
         "advertisers": {shop: {"score": max(0.0, 0.8 + lift + 0.15 * math.sin(3 * i) + float(rng.normal(0, 0.05)))}
                         for i, shop in enumerate(shops)}}
        for train in ((0, 1) if trained else (None,)) for day in range(10)
    ]  # fmt: skip
    return {
        "kind": "ppo" if trained else "rule", "trained_on": {"scenario": "feed", "steps": 300_000} if trained else {},
        "summary": summary, "runs": runs,
        "curves": {"spent": (plan ** (1.0 + 2 * lift) * min(0.99, 0.9 + lift / 2)).tolist(), "plan": plan.tolist(),
                   "multiplier": (1.0 + lift + 0.2 * np.sin(6 * hours + 9 * lift)).tolist()},
    }  # fmt: skip


class Outline(HTMLParser):
    """Which tags a page opens with which attributes; the open ones must close in order."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(results: dict[str, Any], folder: Path) -> str:
    path = folder / "report.html"
    render_report(results, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(sample_results(), tmp_path_factory.mktemp("report"))


def test_same_results_give_the_same_bytes_in_memory_and_from_the_file(page: str, tmp_path: Path) -> None:
    results = sample_results()
    save_results(results, tmp_path / "results.json")
    report_from_file(tmp_path / "results.json", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_report_does_not_depend_on_the_readers_matplotlib_settings(page: str, tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 20.0, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert page_of(sample_results(), tmp_path) == page
        assert matplotlib.rcParams["font.size"] == 20.0


def test_report_asks_no_server_for_anything(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)
    tags = Outline(page).tags
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags}
    links = [value for _, attrs in tags for key, value in attrs.items() if key in ("href", "src", "xlink:href")]
    assert links
    assert all(link is not None and link.startswith("#") for link in links)


def test_every_id_is_there_once_and_every_reference_finds_one(page: str) -> None:
    ids = [attrs["id"] for _, attrs in Outline(page).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|aria-labelledby="([^"]+)"', page))
    for groups in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|aria-labelledby="([^"]+)"', page):
        assert next(filter(None, groups)) in ids


def test_plots_and_tables_speak_to_a_screen_reader(page: str) -> None:
    tags = Outline(page).tags
    plots = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(plots) == 6
    assert all(len(attrs["aria-label"] or "") > 40 for attrs in plots)
    assert page.count("<figcaption>") == page.count("<figure ") == 6
    assert all(attrs.get("scope") for tag, attrs in tags if tag == "th")
    assert sum(tag == "h1" for tag, _ in tags) == 1
    assert 'lang="en"' in page


def test_report_shows_everything_that_it_promises(page: str) -> None:
    for text in (
        "28 July 2026, 14:03 UTC", "9f2c41d07be3", "0123456789ab+", "1000000–1000009", "tribid 0.1.0", "6 min 52 s",
        "interquartile mean", "truthful: 4 advertisers", "target roas", "steps: 300000",
    ):  # fmt: skip
        assert text in page
    for metric in METRICS:
        assert f"<code>{metric.name}</code>" in page


HOSTILE = '<script>alert("x")</script>'


def test_hostile_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    results = sample_results(
        {HOSTILE: 0.0, '--><img src=x onerror="y">': 0.1, '$\\frac{x$ id="score" #1c2431 & \'ppo': 0.05}
    )
    scenario, protocol = results["scenario"], results["protocol"]
    scenario["name"], scenario["description"] = f"a{HOSTILE}", HOSTILE
    scenario["advertisers"] = {name + HOSTILE: trait for name, trait in scenario["advertisers"].items()}
    protocol["focal"] = [name + HOSTILE for name in protocol["focal"]]
    protocol["rivals"] = {name + HOSTILE: HOSTILE for name in protocol["rivals"]}
    results |= {"command": HOSTILE, "commit": HOSTILE, "machine": HOSTILE, "created": HOSTILE, "tribid": HOSTILE}
    results["comparison"] |= {"winner": HOSTILE, "statement": f'"{HOSTILE}'}
    for contestant in results["contestants"].values():
        contestant["kind"], contestant["trained_on"] = HOSTILE, {HOSTILE: HOSTILE, "more": [HOSTILE]}
    for metric in results["metrics"]:
        metric["meaning"] = metric["unit"] = f'"{HOSTILE}'
    page = page_of(results, tmp_path)
    tags = Outline(page).tags
    assert not {"script", "img"} & {tag for tag, _ in tags}
    assert not any(key.startswith("on") for _, attrs in tags for key in attrs)
    assert "&lt;script&gt;" in page


def test_names_of_any_script_and_length_are_drawn_without_a_warning(tmp_path: Path) -> None:
    page = page_of(sample_results({"基准 🛒": 0.0, "x" * 200: 0.1}), tmp_path)
    assert "基准 🛒" in page


def test_best_is_marked_only_where_the_interval_is_clear_of_every_other(tmp_path: Path) -> None:
    results = sample_results({"one": 0.0, "two": 0.1})

    def give(metric: str, one: tuple[float, float, float], two: tuple[float, float, float]) -> None:
        for name, (point, low, high) in (("one", one), ("two", two)):
            results["contestants"][name]["summary"][metric] = {"point": point, "low": low, "high": high}

    for metric in METRICS:
        give(metric.name, (0.5, 0.4, 0.6), (0.6, 0.6, 0.8))  # they touch
    give("take_rate", (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))  # neither more nor less is better
    assert 'class="num best"' not in page_of(results, tmp_path)
    give("leave_rate", (0.1, 0.05, 0.15), (0.3, 0.25, 0.35))  # less is better
    give("fill", (0.1, 0.05, 0.15), (0.3, 0.25, 0.35))  # more is better
    best = re.findall(r'class="num best"><span class="point">([^<]+?) ?<', page_of(results, tmp_path))
    assert best == ["30.0\u202f%", "10.0\u202f%"]


def test_verdict_says_in_words_what_the_differences_allow(tmp_path: Path) -> None:
    results = sample_results({"base": 0.0, "good": 0.1, "bad": -0.1, "same": 0.001})
    results["comparison"]["winner"] = None
    page = page_of(results, tmp_path)
    assert "No winner is named" in page
    said = re.findall(
        r'"name">(\w+)</span> is <span class="said \w+">([\w ]+)</span> base:\s+<span[^>]*>score (\S+),', page
    )
    assert said == [("good", "better than", "+0.100"), ("same", "not told apart from", "+0.001"),
                    ("bad", "worse than", "\u22120.100")]  # fmt: skip
    results["comparison"]["winner"] = "good"
    assert "good wins" in page_of(results, tmp_path)


def test_what_is_not_defined_is_a_dash_that_says_so(tmp_path: Path) -> None:
    results = sample_results({"one": 0.0, "two_ppo": 0.1})
    results |= {"command": None, "commit": None, "learning": {}}
    for contestant in results["contestants"].values():
        contestant["summary"] |= {"cpa_ratio": None, "over_target": None, "relevance": None}
        contestant["curves"]["multiplier"][3] = contestant["curves"]["spent"][47] = None
        for run in contestant["runs"]:
            run["advertisers"]["shop_03"]["score"] = None
    results["contestants"]["one"]["summary"]["score"] = None
    page = page_of(results, tmp_path)
    assert '<abbr class="none" title="not defined">–</abbr>' in page
    assert not re.search(r"\bnan\b|\bNone\b", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
    assert 'id="plot-learning"' not in page
    assert ranked(results) == ["two_ppo", "one"]


def test_one_contestant_alone_makes_a_report(tmp_path: Path) -> None:
    page = page_of(sample_results({"alone": 0.0}), tmp_path)
    assert "alone ran alone" in page
    assert 'id="plot-differences"' not in page


def test_a_crowd_keeps_its_leaders_and_its_baseline_in_colour(tmp_path: Path) -> None:
    names = {f"contestant_{i:02d}": -0.01 * i for i in range(30)}
    order = list(names)
    looks = looks_of(order, "contestant_29")
    coloured = [name for name, look in looks.items() if look.hue is not None]
    assert coloured == [*order[:6], "contestant_29"]
    page = page_of(sample_results(names), tmp_path)
    assert "23 others" in page
    assert "contestant_<wbr>17" in page
    assert page.count('aria-label="All metrics, part') == 6
    assert page.count("contestant_17") >= 2  # in a plot and in words


def test_a_contestant_looks_the_same_whoever_leads_and_no_two_look_alike() -> None:
    names = [f"n{i:02d}" for i in range(CROWD)]
    assert looks_of(names, None) == looks_of(names[::-1], None)
    assert len(set(looks_of(names, None).values())) == CROWD
    assert all(look.outline.endswith("Z") for look in looks_of(names, None).values())


def test_plot_text_is_never_taken_for_markup() -> None:
    figure = matplotlib.figure.Figure()
    figure.text(0.5, 0.5, f'id="a" url(#b) {LIGHT[0]}', color=LIGHT[0])
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        svg = inline_svg(figure, 'say "hi" <b>', prefix="p")
    assert f'>id="a" url(#b) {LIGHT[0]}<' in svg
    assert f"fill: var(--c0,{LIGHT[0]})" in svg
    assert 'aria-label="say &quot;hi&quot; &lt;b&gt;"' in svg


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1234567.891, "currency", "1,234,567.89"), (-3.5, "currency", "\u22123.50"), (0.4321, "share", "43.2"),
     (0.9994, "share", "99.9"), (0.00123, "share", "0.123"), (0.0, "share", "0.00"), (123456.0, "ratio", "123,456"),
     (0.98765, "ratio", "0.988"), (12.345, "ratio", "12.3"), (-0.0, "ratio", "0.00"), (18.42, "hour", "18.4"),
     (float("nan"), "ratio", None), (float("inf"), "share", None), (None, "ratio", None)],
)  # fmt: skip
def test_numbers_are_written_for_readers(value: float | None, unit: str, text: str | None) -> None:
    assert number(value, unit) == text


def test_limits_get_the_digits_of_their_point() -> None:
    assert number(0.1, "ratio", like=12.3) == "0.1"


def test_labels_and_short_names() -> None:
    assert label("rpm") == "RPM"
    assert short("abc") == "abc"
    assert len(short("x" * 99)) == 22


def test_headline_table_fits_a_terminal_and_takes_names_literally() -> None:
    results = sample_results({"[red]bold[/red]": 0.0, "shared_ppo": 0.2})
    results["contestants"]["shared_ppo"]["summary"]["over_target"] = None
    output = io.StringIO()
    Console(file=output, width=100).print(headline_table(results))
    text = output.getvalue()
    assert "[red]bold[/red]" in text
    assert text.index("shared_ppo") < text.index("[red]bold")
    assert "welfare" in text
    assert "–" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'tribid\[report\]'"):
        render_report(sample_results(), tmp_path / "report.html")
    assert headline_table(sample_results()).row_count == 5
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    results = sample_results()
    save_results(results | {"schema": 2}, tmp_path / "results.json")
    with pytest.raises(ValueError, match="schema is 2"):
        report_from_file(tmp_path / "results.json", tmp_path / "report.html")
    with pytest.raises(ValueError, match="no contestant"):
        render_report(results | {"contestants": {}}, tmp_path / "report.html")
