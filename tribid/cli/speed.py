"""Measure this machine: ``tribid benchmark``."""

from pathlib import Path
from typing import Annotated

import typer

from tribid.cli.options import names
from tribid.cli.terminal import console, measuring_bar, readable_errors


def benchmark(
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work, for a first look.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for benchmark.json and the plots (SVG; needs matplotlib).")
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="An earlier benchmark.json: what is slower than then?")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Of bare, days, markets, vector, pettingzoo, retrieval, stream, startup, gpu, growth, models, ranker; "
            "more than once."
        ),
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="The prediction models too (needs torch); alone: --only models.")
    ] = False,
    ranker: Annotated[
        bool,
        typer.Option(
            "--ranker", help="The ranker too, in process and over HTTP (needs the extras serve and loadtest)."
        ),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Of the models: measure all of DIN's training, not a tenth times ten.")
    ] = False,
    page: Annotated[Path | None, typer.Option(help="Replace the measured blocks of this page.")] = None,
    read: Annotated[Path | None, typer.Option(help="Show this benchmark.json in place of measuring anew.")] = None,
) -> None:
    """Measure this machine and the market on it, each figure beside its read bandwidth and plain numpy.

    Example: `tribid benchmark --out runs/speed`, and after a change `tribid benchmark --compare
    runs/speed/benchmark.json`, which compares ratios first: they carry over to other machines. A whole run takes some
    minutes; leave the machine alone meanwhile.
    """
    with readable_errors():
        from tribid.benchmark.report import show, write
        from tribid.benchmark.results import load_results
        from tribid.benchmark.suite import checked_groups, run_benchmark

        groups = [name for given in only or [] for name in names(given)]
        if full and "models" not in checked_groups(groups, models=models):
            raise ValueError("--full is of the models; allowed is with --models or --only models")
        if page is not None and (groups or quick):
            raise ValueError("--page shows a whole run; allowed is neither --only nor --quick with it")
        baseline = load_results(compare) if compare is not None else None
        if read is not None:
            results = load_results(read)
        else:
            flags = " --quick" * quick + " --models" * models + " --ranker" * ranker + " --full" * full
            command = "tribid benchmark" + flags + "".join(f" --only {name}" for name in groups)
            with measuring_bar() as tell:
                results = run_benchmark(
                    quick=quick, only=groups, models=models, ranker=ranker, full=full, command=command, tell=tell
                )
        show(results, console, baseline, str(compare))
        for path in write(results, out, page):
            console.print(f"wrote [bold]{path}[/]", soft_wrap=True)
