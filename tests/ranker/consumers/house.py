"""What the tests of the consumers' side share: a small journey, and a service of it that is opened, asked and closed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from tribid.envs.actions import Action
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.triggers import Trigger
from tribid.ranker.consumers.config import ConsumersConfig, SlotsConfig
from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.live import LiveRanker
from tribid.ranker.live_day import ClockKind
from tribid.ranker.service.app import make_app
from tribid.ranker.service.settings import Settings

KEY = "k" * 40
SMALL: dict[str, Any] = {
    "world__users__count": 200, "world__catalogue__items": 120, "world__traffic__requests": 200,
    "world__traffic__ticks": 4, "generated__count": 12, "world__retrieval": None,
}  # fmt: skip
DROP = Trigger(name="drop", kind="price_drop", least_drop=0.1, quiet_from=0, quiet_to=0)
CLUB = Action(name="club", kind="join_club", value=3.0)


def journey() -> Scenario:
    """Twelve brands, 120 items, 200 users, one trigger and one action."""
    return load_scenario("journey").with_changes(
        **SMALL, world__triggers=(DROP.model_dump(),), world__actions=(CLUB.model_dump(),)
    )


async def open_service(
    check: Callable[[httpx.AsyncClient, Consumers], Awaitable[None]],
    folder: Path,
    *,
    settings: Settings | None = None,
    clock: ClockKind = "request",
    **config: Any,
) -> None:
    """Let ``check`` ask a service that keeps profiles in ``folder``; ``config`` is for ``ConsumersConfig``."""
    scenario, key = journey(), folder / "slots.key"
    key.write_text(KEY)
    told = ConsumersConfig(profiles=str(folder / "profiles"), tend_s=0.02, slots=SlotsConfig(key_file=key), **config)
    live = await LiveRanker.open(scenario, {"it": "truthful"}, clock=clock)
    kept = await Consumers.open(scenario, told)
    live.known_of = kept.known
    transport = httpx.ASGITransport(make_app(live, consumers=kept, settings=settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        await check(http, kept)
    await live.close()
    await kept.close()
