"""All groups of figures in one run, with the yardsticks measured again between them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from tribid.benchmark.bare import bare_figures, lasting, offers, play_numpy
from tribid.benchmark.clock import REPETITIONS, cpu_seconds
from tribid.benchmark.days import day_figures
from tribid.benchmark.device import NO_GPU, device_figures
from tribid.benchmark.dicts import dict_figures
from tribid.benchmark.figure import Figure, plain, rate
from tribid.benchmark.growth import growth_curves
from tribid.benchmark.machine import (
    multiply_max_rates,
    read_seconds,
    this_machine,
    unread_array,
)  # fmt: skip
from tribid.benchmark.markets import market_figures
from tribid.benchmark.models import GROUP as MODELS
from tribid.benchmark.models import model_figures
from tribid.benchmark.ranker import GROUP as RANKER
from tribid.benchmark.ranker import ranker_figures
from tribid.benchmark.results import Curve, Results
from tribid.benchmark.retrieval import retrieval_figures
from tribid.benchmark.startup import startup_figures
from tribid.benchmark.stream import stream_figures
from tribid.benchmark.vector import vector_figures
from tribid.evaluation.results import commit

Tell = Callable[[str, int, int], None]
"""Told what is being measured, how many groups are done, and of how many."""

GROUPS: dict[str, Callable[..., Iterator[Figure]]] = {
    "bare": bare_figures,
    "days": day_figures,
    "markets": market_figures,
    "vector": vector_figures,
    "pettingzoo": dict_figures,
    "retrieval": retrieval_figures,
    "stream": stream_figures,
    "startup": startup_figures,
    "gpu": device_figures,
}
NAMES = (*GROUPS, "growth")
"""What a run without ``only`` measures; the prediction models and the ranker are asked for, as they need more installed."""


class Yardsticks:
    """What every figure is held against, sampled all through the run: a machine's speed drifts."""

    def __init__(self) -> None:
        self._unread, self._given = unread_array(), offers(48, 8)
        self._reads: list[float] = []
        self._numpy: list[float] = []

    def sample(self, repetitions: int = 1) -> None:
        """Measure both once more."""
        self._reads += read_seconds(self._unread, repetitions)
        self._numpy += cpu_seconds(lambda: play_numpy(self._given, lasting(48)), repetitions)

    def figures(self) -> list[Figure]:
        """``read_bandwidth``, ``numpy_48``; and, measured now, ``multiply_max``."""
        count, size = float(len(self._given.pctr)), float(self._unread.nbytes)
        read = rate(
            "read_bandwidth", "one core reads memory", "GB/s", self._reads, size / 1e9, group="machine", clock="cpu"
        )  # fmt: skip
        return [
            read.model_copy(update={"bytes": size}),
            rate(
                "numpy_48", "plain numpy auction, 48 candidates", "impressions/s", self._numpy, count,
                impressions=count, group="machine", clock="cpu", note="numpy_auction, draws included",
            ),
            plain(
                "multiply_max", "one core multiplies and compares", "Gop/s",
                [one / 1e9 for one in multiply_max_rates(REPETITIONS)], better="higher", group="machine",
                note="float64, in the first cache",
            ),
        ]  # fmt: skip


def run_benchmark(
    *,
    quick: bool = False,
    only: Sequence[str] = (),
    models: bool = False,
    ranker: bool = False,
    full: bool = False,
    command: str = "tribid benchmark",
    tell: Tell | None = None,
) -> Results:
    """Measure all groups, or ``only`` those named. ``ValueError`` lists the names where one is unknown.

    ``models`` adds the prediction models; with ``full`` all of their training is measured, not a part scaled up.
    ``ranker`` adds the ranker, in process and over HTTP.
    """
    chosen = checked_groups(only, models=models, ranker=ranker)
    groups: dict[str, Callable[..., Iterator[Figure]]] = GROUPS | {
        MODELS: partial(model_figures, full=full),
        RANKER: ranker_figures,
    }
    tell = tell or (lambda what, done, total: None)
    yardsticks, figures, curves, notes = Yardsticks(), list[Figure](), list[Curve](), list[str]()
    yardsticks.sample(REPETITIONS)
    for done, name in enumerate(chosen):
        tell(name, done, len(chosen))
        if name == "growth":
            for curve in growth_curves(quick=quick):
                curves.append(curve)
                yardsticks.sample()
                tell(f"growth with {curve.name}", done, len(chosen))
            continue
        found = 0
        try:
            for figure in groups[name](quick=quick, repetitions=REPETITIONS):
                found += 1
                figures.append(figure)
                yardsticks.sample()
                tell(f"{name}: {figure.name}", done, len(chosen))
        except ImportError as error:
            notes.append(f"{name}: left out, for {error}")
            continue
        if name == "gpu" and not found:
            notes.append(NO_GPU)
    tell("done", len(chosen), len(chosen))
    return Results(
        schema=2, created=datetime.now(UTC).isoformat(timespec="seconds"), command=command, commit=commit(), quick=quick,
        machine=this_machine(), figures=with_ratios([*yardsticks.figures(), *figures]), curves=curves, notes=notes,
    )  # fmt: skip


def checked_groups(only: Sequence[str], *, models: bool = False, ranker: bool = False) -> tuple[str, ...]:
    """The groups to measure, in the order in which they are run; ``models`` and ``ranker`` add theirs."""
    every = (*NAMES, MODELS, RANKER)
    unknown = sorted(set(only) - {*every})
    if unknown:
        raise ValueError(f"no figures named {', '.join(unknown)}; choose {', '.join(every)}")
    asked = {*(only or NAMES), *([MODELS] if models else []), *([RANKER] if ranker else [])}
    return tuple(name for name in every if name in asked)


def with_ratios(figures: Sequence[Figure]) -> list[Figure]:
    """The figures with their ratios to ``read_bandwidth`` and to the numpy auction that each names."""
    values = {figure.name: figure.value for figure in figures}
    read = values["read_bandwidth"] * 1e9
    return [figure.beside(read, values.get(figure.numpy, values["numpy_48"])) for figure in figures]
