"""What the speed must hold, and whether a run's figures hold it."""

from typing import Literal, NamedTuple

from tribid.benchmark.days import RULES
from tribid.benchmark.models import GROUP as MODELS
from tribid.benchmark.ranker import GROUP as RANKER
from tribid.benchmark.results import Results


class Bound(NamedTuple):
    """A figure's value, or one of its ratios, at least or at most so much."""

    figure: str
    of: Literal["value", "to_read", "to_numpy"]
    sense: Literal["at least", "at most"]
    limit: float


class Requirement(NamedTuple):
    """Held if any of its bounds is."""

    what: str
    asked: str
    any_of: tuple[Bound, ...]


class Verdict(NamedTuple):
    """``held`` is None, and ``measured`` empty, where a run did not measure it."""

    requirement: Requirement
    measured: tuple[float | None, ...]
    held: bool | None


def _one(
    what: str, asked: str, figure: str, sense: Literal["at least", "at most"], limit: float,
    of: Literal["value", "to_read", "to_numpy"] = "value",
) -> Requirement:  # fmt: skip
    return Requirement(what, asked, (Bound(figure, of, sense, limit),))


REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(
        "bare auction, 48 candidates, 3 slots, charge and click draw",
        "12 million impressions/s, or 14 x plain numpy",
        (Bound("bare_48", "value", "at least", 12e6), Bound("bare_48", "to_numpy", "at least", 14.0)),
    ),
    _one(
        "bare auction, 1,000 candidates", "45 % of the read bandwidth", "bare_1000", "at least", 0.45, "to_read"
    ),
    *(
        _one(f"day of 500,000 impressions, {words}", "0.20 CPU-seconds", f"day_{rules}", "at most", 0.20)
        for rules, words in RULES.items()
    ),
    *(
        _one(f"its process's peak memory, {words}", "400 MB", f"day_{rules}_memory", "at most", 400.0)
        for rules, words in RULES.items()
    ),
    *(
        _one(
            f"vector env, 48 agents, 8 markets, {words}", "100,000 agent-steps/s", f"vector_8_{rules}", "at least", 1e5
        )
        for rules, words in RULES.items()
    ),
    _one(
        "PettingZoo's dicts over an empty env's step, 48 agents", "2 x", "pettingzoo_dicts", "at most", 2.0
    ),
    _one("10,000 advertisers over 200, 200 candidates", "1.3 x", "retrieval_ratio", "at most", 1.3),
    _one("the same with OCPC", "1.3 x", "retrieval_ratio_ocpc", "at most", 1.3),
    _one(
        "memory of a streaming day of 10^7 impressions beyond one of 10^6", "50 MB", "stream_memory_more", "at most", 50.0
    ),
    *(
        _one(f"{what}, {RULES[rules]}", "1.8 x", f"{figure}_{rules}", "at least", 1.8)
        for what, figure in (
            ("two threads over two markets", "threads_2_days"), ("the same in lock step, tick by tick", "threads_2"),
        )
        for rules in ("feed_without_ocpc", "auctionnet")
    ),
    _one("GPU, bare auction, 48 candidates", "1 billion impressions/s", "gpu_bare_48", "at least", 1e9),
    _one("import tribid", "0.4 s", "import_seconds", "at most", 0.4),
    _one("torch imported with it", "no", "import_torch", "at most", 0.0),
    _one("first tick with kernels from the cache", "1 s", "first_step_seconds", "at most", 1.0),
)  # fmt: skip


MODEL_REQUIREMENTS: tuple[Requirement, ...] = (
    *(
        _one(f"{name.upper()}, width {width}, scores 400 candidates, {words}", f"{limit} ms", figure + end, "at most", limit)
        for name, limit in (("din", 5), ("dien", 10))
        for width in (8, 16)
        for figure in (f"{name}_{width}",)
        for end, words in (("", "median"), ("_p99", "99 of 100 calls"))
    ),
    _one("TDM's beam, 200 of 10^6 items, median", "10 ms", "tdm_beam", "at most", 10.0),
    _one("TDM's beam, 200 of 10^6 items, 99 of 100 calls", "10 ms", "tdm_beam_p99", "at most", 10.0),
    Requirement(
        "DIN learns from 10^6 impressions, on two cores or even on one", "180 s",
        (Bound("train_din", "value", "at most", 180.0), Bound("train_din_cpu", "value", "at most", 180.0)),
    ),
)  # fmt: skip
"""What is asked of the prediction models, where a run measured them."""


RANKER_REQUIREMENTS: tuple[Requirement, ...] = (
    _one(
        "in-process rank of 400 candidates, learnt policy, OCPC, GSP, 99 of 100", "1 ms", "ranker_rank_wall_p99", "at most",
        1.0,
    ),
    _one("HTTP, 1,000 requests/s of 64 candidates, 99 of 100", "10 ms", "http_64_p99", "at most", 10.0),
    _one("HTTP, everything learnt, 100 requests/s, 99 of 100", "20 ms", "http_learnt_p99", "at most", 20.0),
    _one("a mail's slot picked and drawn, 200 opens/s, 99 of 100", "20 ms", "http_slots_p99", "at most", 20.0),
    _one("event to updated profile, 200/s, 99 of 100", "50 ms", "http_profiles_p99", "at most", 50.0),
    _one("changing policies under load: 99 of 100 over without", "2 x", "http_swap_ratio", "at most", 2.0),
    *(
        _one(f"requests not answered well, {words}", "0", f"{name}_errors", "at most", 0.0)
        for name, words in (
            ("http_64", "64 candidates"), ("http_swap", "while policies change"), ("http_learnt", "everything learnt"),
            ("http_slots", "mails' slots"), ("http_profiles", "events and profiles"),
        )
    ),
)  # fmt: skip
"""What is asked of the ranker, where a run measured it. Server and load generator share the machine."""


def verdicts(results: Results) -> list[Verdict]:
    """Every requirement against a run; those of the models and of the ranker only where it measured them."""
    measured = {figure.group for figure in results.figures}
    asked = REQUIREMENTS + (MODEL_REQUIREMENTS if MODELS in measured else ())
    asked += RANKER_REQUIREMENTS if RANKER in measured else ()
    return [_verdict(requirement, results) for requirement in asked]


def _verdict(requirement: Requirement, results: Results) -> Verdict:
    measured: list[float | None] = []
    held: list[bool] = []
    for bound in requirement.any_of:
        figure = results.figure(bound.figure)
        found: float | None = getattr(figure, bound.of) if figure else None
        measured.append(found)
        if found is not None:
            held.append(found >= bound.limit if bound.sense == "at least" else found <= bound.limit)
    return Verdict(requirement, tuple(measured), any(held) if held else None)
