"""A live ranker's decisions, logged as it makes them, are those that it answered, and can be made again."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ranker.decision_log.pages import SALT
from tribid.envs.scenario import load_scenario
from tribid.ranker.decision_log import DecisionLog, LogReader, replay, user_token
from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import Decision, Event, Offer, Request


def requests(rng: np.random.Generator, names: tuple[str, ...], count: int, segments: int) -> list[Request]:
    """Pages of a day in its order; every third brings its own candidates, and of those every second names no user."""
    asked = []
    for number in range(count):
        own = number % 3 == 2
        offers = tuple(
            Offer(advertiser=str(name), pctr=float(rng.random()), pcvr=float(rng.random()))
            for name in rng.permutation(names)[: rng.integers(1, len(names) + 1)]
        )
        asked.append(
            Request(
                request=number,
                user=None if number % 6 == 5 else int(rng.integers(50)),
                tick=number * 8 // count,
                state=("browsing", "buying")[int(rng.integers(2))],
                segment=int(rng.integers(segments)) if number % 5 == 0 else None,
                buying=float(rng.random()) if number % 4 == 0 else None,
                candidates=offers if own else None,
            )
        )
    return asked


async def serve(scenario: Any, log: DecisionLog, count: int) -> list[Decision]:
    live = await LiveRanker.open(
        scenario, {"pid": "pid", "dual": "dual_pacing", "plain": "truthful"}, log=log.append, seed=11
    )
    await live.activate("dual", mode="split", percent=30)
    await live.activate("plain", mode="shadow")
    segments = 3 if scenario.rules.segments != "none" else 1
    rng, answered = np.random.default_rng(4), []
    asked = requests(rng, live.names, count, segments)
    for start in range(0, count, 25):
        answered += await live.rank_many(asked[start : start + 25])
        clicks = [
            Event(id=f"{decision.id}.{slot.slot}", kind="click", decision=decision.id, slot=slot.slot)
            for decision in answered[start:]
            for slot in decision.slots
            if rng.random() < 0.3
        ]
        await live.events(clicks[:1000])
    await live.close()
    return answered


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rules__segments": "cluster", "rules__squash": 0.7, "rules__auction": "vcg"},
        {"rules__auction": "first_price", "rules__charge": "impression", "rules__ocpc__strategy": "off"},
        {"rules__ocpc__strategy": "conversion_rank"},
        {"rules__ocpc__index": "dynamic", "rules__ocpc__click_value": 0.3},
    ],
    ids=["gsp", "vcg-clusters", "first_price-impressions", "conversion_rank", "dynamic"],
)
def test_every_answer_of_a_live_ranker_is_logged_and_can_be_made_again(
    changes: dict[str, object], tmp_path: Path
) -> None:
    scenario, count = load_scenario("tiny").with_changes(**changes), 240
    with DecisionLog(tmp_path, scenario=scenario, salt=SALT) as log:
        answered = asyncio.run(serve(scenario, log, count))
    assert log.state().lost == 0 and log.state().written == 2 * count  # each page, and its shadow
    logged = {"shown": {}, "shadow": {}}
    for row in LogReader(tmp_path):
        logged["shadow" if row.decided.arm == "shadow" else "shown"][row.decided.id] = row
    assert len(logged["shown"]) == len(logged["shadow"]) == count
    sold = 0
    for decision in answered:
        row = logged["shown"][decision.id]
        decided = row.decided
        taken = len(decision.slots)
        assert decided.winner.tolist() == [s.ad for s in decision.slots] + [-1] * (len(decided.winner) - taken)
        assert decided.price_micros[:taken].tolist() == [s.price_micros for s in decision.slots]
        assert decided.score[:taken].tolist() == [s.score for s in decision.slots]
        assert decided.release == decision.policy and (decided.day, decided.tick) == (decision.day, decision.tick)
        sold += taken
    assert sold > 50
    assert {row.decided.arm for row in logged["shown"].values()} == {"active", "split"}
    users = {row.user for row in logged["shown"].values()}
    assert None in users and users - {None} <= {user_token(SALT, user) for user in range(50)}
    result = replay(tmp_path)
    assert result.differences == () and result.different == 0 and result.decisions == 2 * count
    assert len(result.by_release) == 3
