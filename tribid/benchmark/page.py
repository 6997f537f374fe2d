"""The measured parts of docs/performance.md: marked blocks that a run replaces, so that no figure is typed by hand.

A block lies between ``<!-- benchmark:NAME -->`` and ``<!-- /benchmark:NAME -->``; ``BLOCKS`` has the names.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from tribid.benchmark.bare import CANDIDATES, counted_work
from tribid.benchmark.device import NO_GPU, figures_of
from tribid.benchmark.figure import amount
from tribid.benchmark.models import GROUP as MODELS
from tribid.benchmark.ranker import GROUP as RANKER
from tribid.benchmark.requirements import MODEL_REQUIREMENTS, RANKER_REQUIREMENTS, Requirement, verdicts
from tribid.benchmark.results import Results
from tribid.benchmark.table import measured, ratios, spread
from tribid.files import read_json, write_atomically

DEVICE_FILE = "benchmark-gpu.json"
"""Beside the page: what ``python -m tribid.gpu.bench --json`` wrote on a machine that has a GPU."""


def write_page(path: Path, results: Results) -> None:
    """Replace every block of the page. ``ValueError`` names a block that the page lacks, or ends without a start."""
    shown = with_device(results, path.with_name(DEVICE_FILE))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    for name, block in BLOCKS.items():
        start, end = f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"
        if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
            raise ValueError(f"{path} has no block benchmark:{name}; allowed is one, from {start} to {end}")
        text = f"{text.partition(start)[0]}{start}\n{block(shown)}\n{end}{text.partition(end)[2]}"
    write_atomically(path, text)


def with_device(results: Results, file: Path) -> Results:
    """The results with a GPU's figures from ``file``, if it is there and the run had no GPU itself."""
    if not file.is_file() or any(figure.group == "gpu" for figure in results.figures):
        return results
    try:
        found = list(figures_of(read_json(file)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} holds no figures of tribid.gpu.bench: {error!r}") from None
    notes = [note for note in results.notes if note != NO_GPU]
    return results.model_copy(update={"figures": [*results.figures, *found], "notes": notes})


def machine_block(results: Results) -> str:
    """Command, machine, date, commit."""
    machine = results.machine
    lines = [
        f"* command: `{results.command}`"
        + (" (a quick run: a first look, not figures to report)" if results.quick else ""),
        f"* machine: {machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}, "
        f"numpy {machine.numpy}, numba {machine.numba}",
        f"* date: {results.created[:10]}, commit {results.commit}",
        *(f"* {note}" for note in results.notes),
    ]
    return "\n".join(lines)


def requirements_block(results: Results) -> str:
    """The must-hold table."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        (verdict.requirement.what, verdict.requirement.asked, measured(results, verdict), words[verdict.held])
        for verdict in verdicts(results)
    ]
    return _table(("what", "asked", "measured", "held"), rows)


def figures_block(results: Results) -> str:
    """Every figure but the models' and the ranker's, with its spread and ratios."""
    rows = [
        (
            f"{figure.title.strip()}{f' ({figure.note})' if figure.note else ''}",
            amount(figure.value, figure.unit), spread(figure), *ratios(figure),
        )
        for figure in results.figures if figure.group not in (MODELS, RANKER)
    ]  # fmt: skip
    return _table(("what", "median", "least to most", "to reading", "to numpy"), rows)


def models_block(results: Results) -> str:
    """The models' figures with what is asked of them."""
    return _asked_block(results, MODELS, MODEL_REQUIREMENTS)


def ranker_block(results: Results) -> str:
    """The ranker's figures with what is asked of them."""
    return _asked_block(results, RANKER, RANKER_REQUIREMENTS)


def _asked_block(results: Results, group: str, requirements: Sequence[Requirement]) -> str:
    asked = {bound.figure: one.asked for one in requirements for bound in one.any_of}
    rows = [
        (
            f"{figure.title.strip()}{f' ({figure.note})' if figure.note else ''}",
            amount(figure.value, figure.unit), spread(figure), asked.get(figure.name, ""), *ratios(figure),
        )
        for figure in results.figures if figure.group == group
    ]  # fmt: skip
    if not rows:
        return f"Not measured in this run: `tribid benchmark --{group}` does."
    return _table(("what", "median", "least to most", "asked", "to reading", "to numpy"), rows)


def work_block(results: Results) -> str:
    """Counted bytes and operations of the bare auctions, and how much of the machine they use."""
    read, peak = results.figure("read_bandwidth"), results.figure("multiply_max")
    rows = []
    for n in CANDIDATES:
        figure, work = results.figure(f"bare_{n}"), counted_work(n)
        if figure is None or read is None or peak is None:
            continue
        rows.append((
            f"{n:,}", f"{work.bytes:,.0f}", f"{work.operations:,.0f}", f"{1e9 / figure.value:,.1f} ns",
            f"{figure.value * work.bytes / 1e9:.1f} GB/s, {figure.value * work.bytes / 1e9 / read.value:.0%}",
            f"{figure.value * work.operations / 1e9:.1f} Gop/s, {figure.value * work.operations / 1e9 / peak.value:.0%}",
        ))  # fmt: skip
    head = ("candidates", "bytes", "operations", "time", "of the read bandwidth", "of the arithmetic peak")
    return _table(head, rows)


BLOCKS: dict[str, Callable[[Results], str]] = {
    "machine": machine_block, "requirements": requirements_block, "figures": figures_block, "models": models_block,
    "ranker": ranker_block, "work": work_block,
}  # fmt: skip


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
