"""Decisions to log: random pages, decided by the simulator's own code."""

import numpy as np

from tribid.envs.decision import decide
from tribid.envs.platform import Rates, Requests
from tribid.envs.scenario import MICROS, Scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log.replay import Rulebook, rulebook

SALT = b"0123456789abcdef"


def random_pages(
    scenario: Scenario, count: int, *, candidates: int | None = None, seed: int = 0, book: Rulebook | None = None
) -> list[Decided]:
    """Pages of some of the scenario's advertisers (all of them without ``candidates``), each with budgets of its own."""
    book = rulebook(scenario) if book is None else book
    rng = np.random.default_rng(seed)
    return [_page(book, rng, request, candidates, seed) for request in range(count)]


def _page(book: Rulebook, rng: np.random.Generator, request: int, candidates: int | None, seed: int) -> Decided:
    scenario, everybody, segments = book.scenario, len(book.advertisers), 3
    n = everybody if candidates is None else candidates
    ads = np.arange(n, dtype=np.int32) if candidates is None else rng.permutation(everybody)[:n].astype(np.int32)
    multipliers = rng.uniform(0, scenario.rules.max_multiplier, (everybody, segments)) * rng.integers(
        0, 2, (everybody, 1)
    )
    left = rng.choice(np.array([0, 1, 60_000, 10**6, 10**10]), everybody)
    # Few distinct rates: ties, and the draws that break them, are common.
    pctr, pcvr = (rng.choice(np.array([0, 0.01, 0.1, 0.3], np.float32), (1, n)) for _ in range(2))
    segment, reserve = int(rng.integers(segments)), round(scenario.rules.reserve * MICROS)
    buying = float(np.float32(rng.random())) if scenario.rules.ocpc.index == "dynamic" else float("nan")
    row = Requests(
        2, 5, np.array([request]), np.array([17]), np.zeros(1, np.int64), np.array([segment]), np.array([reserve]),
        None if candidates is None else ads[None],
        None if np.isnan(buying) else np.array([buying], np.float32),
    )  # fmt: skip
    made = decide(scenario.rules, book.advertisers, multipliers, left, row, Rates(pctr, pcvr), seed)
    return Decided(
        id=f"2.{request}",
        time_ms=1_700_000_000_000 + request,
        day=2,
        tick=5,
        request=request,
        user=-1 if request % 5 == 4 else 1_000_003 + request % 3,
        scenario=scenario.hash,
        seed=seed,
        release=f"pid@{request % 2}",
        arm=("active", "split", "shadow")[request % 3],
        segment=segment,
        reserve_micros=reserve,
        buying=buying,
        ads=ads,
        pctr=pctr[0],
        pcvr=pcvr[0],
        creative=rng.integers(-1, 4, n).astype(np.int8),
        multiplier=multipliers[ads, segment],
        left_micros=left[ads],
        bid_micros=made.bid_micros[0],
        propensity=rng.random(n, dtype=np.float32),
        winner=made.winner[0],
        price_micros=made.price_micros[0],
        score=made.score[0],
        runner_up=int(made.runner_up[0]),
        runner_up_score=float(made.runner_up_score[0]),
        fallbacks=("predict:last_known", "bid:base") if request % 4 == 0 else (),
        stage_ms={"retrieve": 0.1, "auction": 1 / 3} if request % 2 else {},
    )


def same(one: Decided, two: Decided) -> bool:
    """Whether two decisions are equal in type and bit, but for the user."""
    for name in Decided._fields:
        a, b = getattr(one, name), getattr(two, name)
        if isinstance(a, np.ndarray):
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                return False
        elif name == "buying":
            if type(a) is not type(b) or np.float64(a).tobytes() != np.float64(b).tobytes():
                return False
        elif name != "user" and (type(a) is not type(b) or a != b):
            return False
    return True
