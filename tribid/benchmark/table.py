"""The figures of a run as a table for the terminal."""

from rich.markup import escape
from rich.table import Table

from tribid.benchmark.figure import Figure, amount
from tribid.benchmark.requirements import Verdict, verdicts
from tribid.benchmark.results import Results


def figure_table(results: Results) -> Table:
    """Median, spread, and both ratios of every figure."""
    machine = results.machine
    title = f"{machine.cpu}, {machine.cores} cores, {machine.system}; commit {results.commit}, {results.created}"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("what")
    for name in ("median", "least to most", "to reading", "to numpy"):
        table.add_column(name, justify="right")
    group = results.figures[0].group
    for figure in results.figures:
        if figure.group != group:
            table.add_section()
            group = figure.group
        table.add_row(figure.title, amount(figure.value, figure.unit), spread(figure), *ratios(figure))
    return table


def requirement_table(results: Results) -> Table:
    """What was asked, and whether it is held."""
    title = "must hold (a quick run has smaller sizes)" if results.quick else "must hold"
    table = Table("what", "asked", "measured", "held", title=title, title_justify="left")
    for verdict in verdicts(results):
        held = {True: "[green]yes[/]", False: "[bold red]no[/]", None: "not measured"}[verdict.held]
        table.add_row(verdict.requirement.what, verdict.requirement.asked, measured(results, verdict), held)
    return table


def spread(figure: Figure) -> str:
    """The least and the most, without the unit; nothing of a single measurement."""
    if figure.repetitions == 1:
        return ""
    low, high = (amount(value, figure.unit).removesuffix(f" {figure.unit}") for value in (figure.low, figure.high))
    return f"{low} to {high}"


def ratios(figure: Figure) -> tuple[str, str]:
    """Both ratios, empty where a figure has none."""
    read, numpy = ("" if value is None else f"{value:.3g}" for value in (figure.to_read, figure.to_numpy))
    return read, numpy


def measured(results: Results, verdict: Verdict) -> str:
    """The measured side of a requirement in words."""
    texts = []
    for bound, value in zip(verdict.requirement.any_of, verdict.measured, strict=True):
        figure = results.figure(bound.figure)
        if value is None or figure is None:
            continue
        if bound.of == "value":
            texts.append(amount(value, figure.unit))
        else:
            texts.append(f"{value:.0%} of reading" if bound.of == "to_read" else f"{value:.1f} x numpy")
    return ", ".join(texts)
