"""Where a run's results go: tables on the terminal; JSON, plots and the page as files."""

from pathlib import Path

from rich.console import Console

from tribid.benchmark.compare import compare, comparison_lines, comparison_table
from tribid.benchmark.page import write_page
from tribid.benchmark.results import FILE, Results, save_results
from tribid.benchmark.table import figure_table, requirement_table


def show(results: Results, console: Console, baseline: Results | None = None, name: str = "baseline") -> None:
    """The figures, what must hold, and the comparison with ``baseline``."""
    console.print(figure_table(results))
    console.print(requirement_table(results))
    for note in results.notes:
        console.print(note, markup=False, highlight=False)
    if baseline is not None:
        comparison = compare(results, baseline)
        console.print(comparison_table(comparison, name))
        for line in comparison_lines(comparison):
            console.print(line, markup=False, highlight=False)


def write(results: Results, out: Path | None, page: Path | None) -> list[Path]:
    """``benchmark.json`` and the plots in folder ``out``, and the page's blocks; the paths written.

    ``ImportError`` tells what to install where there is no matplotlib; the JSON is written before.
    """
    written: list[Path] = []
    if out is not None:
        if out.is_file() or out.suffix == ".json":
            raise ValueError(f"--out is {out}; allowed is a folder, where {FILE} and the plots go")
        out.mkdir(parents=True, exist_ok=True)
        save_results(results, out / FILE)
        written.append(out / FILE)
    if page is not None:
        write_page(page, results)
        written.append(page)
    if out is not None:
        try:
            from tribid.benchmark.plots import write_plots
        except ImportError as error:
            raise ImportError(f"plots need matplotlib: pip install 'tribid[report]' ({FILE} is written)") from error
        written += write_plots(results, out)
    return written
