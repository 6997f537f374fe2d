"""A simulated day sent over HTTP in batches: the same winners, prices and budgets as the simulator, to the bit."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.ranker.test_parity import SEED, TINY, requests_of
from tribid.agents.bidder import Lineup
from tribid.envs import market
from tribid.envs.action import to_multiplier
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker.client import AsyncClient
from tribid.ranker.lineups import loaded_lineup
from tribid.ranker.live import LiveRanker
from tribid.ranker.service.app import make_app


async def opened(scenario: Scenario) -> LiveRanker:
    return await LiveRanker.open(scenario, {"pid": "pid"}, seed=SEED)


async def check_day(scenario: Scenario, client: AsyncClient, live: LiveRanker, batch: int) -> int:
    """Play a day in the market and send its requests to a server; how many were compared, all alike."""
    state = market.reset(scenario, SEED)
    lineup: Lineup = loaded_lineup(scenario, "pid", "truthful", live.names).lineup
    carried: dict[str, Any] = {}
    compared = 0
    while not state.done:
        actions, states = lineup.act(observe(state), carried)
        carried = dict(states)
        before = state
        state, tick = market.step(state, to_multiplier(actions, scenario.rules.max_multiplier))
        sent = requests_of(before, tick)
        for start in range(0, len(sent), batch):
            part = sent[start : start + batch]
            pages = await client.rank_many([request for _, request in part])
            for (row, request), page in zip(part, pages, strict=True):
                shown = tick.slots.winner[row] >= 0
                assert page.request == request.request and page.fallbacks == ()
                assert [slot.ad for slot in page.slots] == tick.slots.winner[row][shown].tolist()
                assert [slot.price_micros for slot in page.slots] == tick.slots.price_micros[row][shown].tolist()
                assert [slot.score for slot in page.slots] == tick.slots.score[row][shown].tolist()
            compared += len(part)
        if sent:
            money = live.state().advertisers.values()
            assert [one.free_micros for one in money] == state.left_micros.tolist()
            assert [one.held_micros for one in money] == [0] * len(live.names)
    return compared


def test_a_simulated_day_over_http_is_answered_alike() -> None:
    async def run() -> int:
        live = await opened(TINY)
        async with AsyncClient("http://test", transport=httpx.ASGITransport(make_app(live))) as client:
            return await check_day(TINY, client, live, batch=61)

    assert asyncio.run(run()) >= 3_000


@pytest.mark.slow
def test_a_hundred_thousand_rows_over_a_socket_are_answered_alike(server: Any) -> None:
    scenario = load_scenario("feed").with_changes(world__traffic__requests=130_000)
    with server(lambda: opened(scenario)) as running:

        async def run() -> int:
            async with AsyncClient(running.address, timeout=60) as client:
                return await check_day(scenario, client, running.app.serving.live, batch=1_000)

        assert asyncio.run(run()) >= 100_000


def test_batches_as_plain_json_are_decided_as_those_of_the_client() -> None:
    async def run() -> None:
        one, other = await opened(TINY), await opened(TINY)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(one)), base_url="http://test") as plain:
            pages = [{"request": number, "user": number % 50, "state": "buying"} for number in range(20)]
            answer = await plain.post("/v1/rank", json={"requests": pages})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(other)), base_url="http://test") as single:
            for page, decision in zip(pages, answer.json()["decisions"], strict=True):
                alone = await single.post(
                    "/v1/rank", content=json.dumps(page), headers={"content-type": "application/json"}
                )
                assert alone.json() == decision

    asyncio.run(run())
