"""What the tests of live rankers share: a small market, and a ranker that is opened, asked and closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker import LiveRanker

TINY = load_scenario("tiny")
NAMES = ("adv_00", "adv_01", "adv_02", "adv_03", "adv_04")


def run(check: Callable[[LiveRanker], Awaitable[None]], scenario: Scenario = TINY, **given: Any) -> None:
    """Let ``check`` ask a ranker of the scenario; ``given`` is for ``LiveRanker.open``, with ``truthful`` unless it says."""

    async def inner() -> None:
        ranker = await LiveRanker.open(scenario, given.pop("policies", {"it": "truthful"}), **given)
        await check(ranker)
        await ranker.close()

    asyncio.run(inner())
