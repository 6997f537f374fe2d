"""Two runs side by side: now over then, by ratios that a faster machine leaves alone, and absolutely."""

from typing import NamedTuple

from rich.table import Table

from tribid.benchmark.figure import Figure, amount
from tribid.benchmark.results import Results

TOLERANCE = 0.15
"""A figure is slower that takes so much more time, or memory, than then."""


class Change(NamedTuple):
    """Now over then, turned so that above 1 is better; None where a run has no such number.

    ``slower`` holds where both ratios fell by more than the tolerance (either alone may be a yardstick that moved), or,
    for what has no ratios, the figure itself.
    """

    title: str
    to_read: float | None
    to_numpy: float | None
    absolute: float | None
    then: str
    now: str
    slower: bool


class Comparison(NamedTuple):
    """Every figure that both runs have; names that one alone has; what makes the runs unlike."""

    changes: list[Change]
    new: list[str]
    gone: list[str]
    warnings: list[str]

    @property
    def slower(self) -> list[Change]:
        """What is slower than then."""
        return [change for change in self.changes if change.slower]


def compare(now: Results, then: Results) -> Comparison:
    """Set a run beside an earlier one."""
    earlier = {figure.name: figure for figure in then.figures}
    names = [figure.name for figure in now.figures]
    warnings = []
    if now.quick != then.quick:
        kinds = {True: "quick", False: "whole"}
        warnings.append(
            f"this run is {kinds[now.quick]}, the baseline {kinds[then.quick]}: fixed costs weigh differently"
        )
    if now.machine.cpu != then.machine.cpu:
        warnings.append(f"the baseline is of another machine ({then.machine.cpu}): look at the ratios alone")
    return Comparison(
        [change_of(figure, earlier[figure.name]) for figure in now.figures if figure.name in earlier],
        [name for name in names if name not in earlier],
        [name for name in earlier if name not in names],
        warnings,
    )


def change_of(now: Figure, then: Figure) -> Change:
    """One figure now against then."""
    to_read, to_numpy = _over(now.to_read, then.to_read), _over(now.to_numpy, then.to_numpy)
    absolute = _over(now.value, then.value) if now.better == "higher" else _over(then.value, now.value)
    judged = [ratio for ratio in (to_read, to_numpy) if ratio is not None] or [1.0 if absolute is None else absolute]
    slower = max(judged) * (1 + TOLERANCE) < 1
    if absolute is None and now.better == "lower":
        slower |= then.value <= 0 < now.value  # such as torch, which was not imported then
    texts = amount(then.value, then.unit), amount(now.value, now.unit)
    return Change(now.title.strip(), to_read, to_numpy, absolute, *texts, slower and now.group != "machine")


def comparison_table(comparison: Comparison, baseline: str) -> Table:
    """The comparison for the terminal."""
    table = Table(title=f"now / then, above 1 is better; then: {baseline}", title_justify="left")
    table.add_column("what")
    for name in ("to reading", "to numpy", "absolute", "then", "now"):
        table.add_column(name, justify="right")
    table.add_column("")
    for change in comparison.changes:
        numbers = ("-" if x is None else f"{x:.2f}" for x in (change.to_read, change.to_numpy, change.absolute))
        table.add_row(change.title, *numbers, change.then, change.now, "[bold red]slower[/]" if change.slower else "")
    return table


def comparison_lines(comparison: Comparison) -> list[str]:
    """What a table does not say: unlike runs, figures that one run alone has, and how many are slower."""
    lines = list(comparison.warnings)
    if comparison.new:
        lines.append(f"not in the baseline: {', '.join(comparison.new)}")
    if comparison.gone:
        lines.append(f"in the baseline alone: {', '.join(comparison.gone)}")
    lines.append(
        f"{len(comparison.slower)} of {len(comparison.changes)} figures are slower by more than {TOLERANCE:.0%}"
    )
    return lines


def _over(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b is not None and a > 0 and b > 0 else None
