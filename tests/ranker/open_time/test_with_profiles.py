import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.ranker.open_time.house import START_MS, Clock, a_stock, a_token, open_time
from tribid.envs.scenario import load_scenario
from tribid.ranker.open_time.card import Painter, card_of
from tribid.ranker.open_time.events import into
from tribid.ranker.open_time.open_time import OpenTime
from tribid.ranker.open_time.pickers import PopularityBuckets, ProfilePicker
from tribid.ranker.open_time.studio import Studio
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import ConsumerEvent
from tribid.ranker.profile.settings import ProfileSettings
from tribid.ranker.stock import scenario_stock

CLOCK = Clock()


def use(folder: Path, check: Callable[[JournaledProfiles, OpenTime], Awaitable[None]]) -> None:
    """Let ``check`` use slots that are filled from a store of profiles on disk."""

    async def inner() -> None:
        profiles = await JournaledProfiles.open(folder / "profiles", ProfileSettings(clock_ms=CLOCK.now_ms))
        stock = a_stock()
        buckets = PopularityBuckets(stock)
        picker = ProfilePicker(profiles, stock, buckets, {0: [2]})
        part = open_time(stock, CLOCK, buckets=buckets, picker=picker, record=into(profiles))
        await check(profiles, part)
        await part.close()
        await profiles.close()

    asyncio.run(inner())


async def shown(part: OpenTime, user: str = "42", number: int = 0) -> int | None:
    opened = await part.open(a_token(user=user, number=number))
    return None if opened.card is None else opened.card.item


def event(name: str, kind: str, item: int | None = None) -> ConsumerEvent:
    return ConsumerEvent(id=name, kind=kind, user="42", item=item, time_ms=START_MS - 1_000)  # type: ignore[arg-type]


def test_a_slot_shows_what_the_user_viewed_and_the_profile_learns_of_the_click_once(tmp_path: Path) -> None:
    async def check(profiles: JournaledProfiles, part: OpenTime) -> None:
        assert [receipt.status for receipt in await profiles.take([event("e1", "view", 7)])] == ["accepted"]
        assert await shown(part) == 7
        for _ in range(3):
            assert await part.click(a_token("click")) == part.stock.item(7).url
        while part._telling:  # the opening is told beside the answer
            await asyncio.sleep(0)
        profile = await profiles.profile("42")
        assert profile is not None and profile.version == 3  # the view, the opening, the click
        assert await shown(part, "43") == 0

    use(tmp_path, check)


def test_after_an_order_a_slot_shows_what_goes_with_it(tmp_path: Path) -> None:
    async def check(profiles: JournaledProfiles, part: OpenTime) -> None:
        await profiles.take(
            [event("e1", "view", 7), event("e2", "order", 3)]
        )  # item 3 is of category 0, 2 goes with that
        assert [await shown(part, number=number) for number in range(5)] == [2, 7, 5, 8, 11]

    use(tmp_path, check)


def test_who_opted_out_is_shown_what_everybody_is(tmp_path: Path) -> None:
    async def check(profiles: JournaledProfiles, part: OpenTime) -> None:
        await profiles.take([event("e1", "view", 7), event("e2", "left")])
        assert await shown(part) == 0

    use(tmp_path, check)


def test_the_most_popular_items_of_a_shop_are_drawn_ahead() -> None:
    shop = scenario_stock(load_scenario("shop"))
    buckets, painter, drawn = PopularityBuckets(shop.stock, shop.popularity), Painter(), []
    studio = Studio(lambda card: drawn.append(card.item) or painter.draw(card))
    part = open_time(shop.stock, buckets=buckets, studio=studio)
    part.warm(3)
    first = list(buckets.ranked(0))[:4]
    assert drawn == first[:3] and shop.stock.item(first[0]).category != shop.stock.item(first[1]).category

    async def check() -> None:
        opened = await part.open(a_token())
        assert opened.content() == painter.draw(card_of(first[0], shop.stock.item(first[0]))) and len(drawn) == 3
        await part.close()

    asyncio.run(check())
