"""``Consumers``: profiles, triggers, stock, slots and actions of one service, opened, tended and closed together."""

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import numpy as np

from tribid.envs.actions import Action, actions_json
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.scenario import Scenario
from tribid.envs.worlds import FeedWorld
from tribid.files import write_json
from tribid.models.actions.features import feature_names
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.ranker import ActionRanker
from tribid.ranker.consumers.catalogue import Catalogue
from tribid.ranker.consumers.config import REDIS, ConsumersConfig
from tribid.ranker.consumers.forgetting import ForgettingProfiles
from tribid.ranker.consumers.stock_routes import stock_routes
from tribid.ranker.live import STRANGER, Known
from tribid.ranker.open_time.card import Painter
from tribid.ranker.open_time.choices import Choices
from tribid.ranker.open_time.events import into
from tribid.ranker.open_time.open_time import OpenTime
from tribid.ranker.open_time.pickers import ProfilePicker
from tribid.ranker.open_time.settings import OpenTimeSettings
from tribid.ranker.open_time.tokens import Signer
from tribid.ranker.profile.errors import ProfileDamageError, ProfilesUnavailableError
from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt
from tribid.ranker.profile.router import ProfileEndpoints, profile_routes
from tribid.ranker.profile.settings import ProfileSettings
from tribid.ranker.profile.watch import Watch
from tribid.ranker.stock.source import ShopStock, read_stock, scenario_stock

if TYPE_CHECKING:
    from starlette.routing import Route

REDIS_VARIABLE = "TRIBID_REDIS"
_SAW_S = 1.0
_WARM = 256
"""Pictures that are drawn before the first mail is opened."""

_log = logging.getLogger("tribid.ranker.consumers")


class Consumers:
    """What a service knows of consumers, and what it does for them.

    Made by ``open``; one process, one event loop. ``slots`` is None where the config has none, ``actions`` where the
    scenario has none.
    """

    def __init__(
        self, profiles: ProfileStore, shop: ShopStock, slots: OpenTime | None, actions: ActionRanker | None,
        facts: Catalogue, stack: AsyncExitStack,
    ) -> None:  # fmt: skip
        self.profiles, self.stock, self.slots, self.actions = profiles, shop.stock, slots, actions
        self.has_items, self._brands = facts.has_items, facts.brands
        self._endpoints, self._stack = ProfileEndpoints(profiles), stack

    @classmethod
    async def open(cls, scenario: Scenario, config: ConsumersConfig) -> "Consumers":
        """Open everything that the config names; ``ValueError`` and ``ProfilesUnavailableError`` say what cannot be."""
        world = scenario.world
        if not isinstance(world, FeedWorld):
            raise ValueError(f"scenario {scenario.name} is no feed; consumers are those of a feed, a shop or a journey")
        async with AsyncExitStack() as stack:
            shop = await asyncio.to_thread(_shop, scenario, config)
            path = Catalogue(scenario, shop, has_items=config.stock is None)
            known = world.actions if isinstance(world, JourneyWorld) else ()
            settings = ProfileSettings(
                keep_days=config.keep_days,
                triggers=world.triggers if isinstance(world, JourneyWorld) else (),
                complements=path.complements,
                brand_of=path.brand_of,
                brand_cap=world.fatigue.cap if isinstance(world, JourneyWorld) else None,
                brands=path.brands,
                items=len(shop.stock),
                categories=world.categories if config.stock is None else None,
                actions=[action.name for action in known] or None,
                on_sale=path.on_sale,
            )
            store = await _opened_store(config, settings)
            stack.push_async_callback(store.close)
            if not known and (config.actions.model is not None or config.actions.journal is not None):
                raise ValueError(
                    f"actions has a model or a journal; scenario {scenario.name} has no actions to propose"
                )
            journal = await asyncio.to_thread(_action_journal, config, known, world.categories)
            if journal is not None:
                stack.callback(journal.close)
            actions = None
            if known:
                actions = ActionRanker(
                    known, categories=world.categories, category_of=path.category_of, model=config.actions.model,
                    profiles=store, journal=journal, epsilon=config.actions.epsilon,
                    weight_by_value=config.actions.weight_by_value,
                )  # fmt: skip
            slots = None
            if config.slots is not None:
                slots = await asyncio.to_thread(_slots, config, world.seed, shop, store, path)
                stack.push_async_callback(slots.close)
            watch = Watch(store, shop.stock, every_s=config.tend_s)
            watch.start()
            stack.push_async_callback(watch.stop)
            forget = [] if slots is None else [slots.choices.forget]
            forget += [] if journal is None else [journal.forget]
            return cls(ForgettingProfiles(store, forget), shop, slots, actions, path, stack.pop_all())

    def routes(self) -> "list[Route]":
        """Every address of the consumers' side but ``POST /v1/events``, which is the ranker's, too."""
        from tribid.ranker.actions.routes import action_routes
        from tribid.ranker.open_time.routes import open_time_routes

        routes = [*profile_routes(self.profiles), *stock_routes(self.stock)]
        routes += [] if self.actions is None else action_routes(self.actions)
        return routes if self.slots is None else [*routes, *open_time_routes(self.slots)]

    @property
    def trouble(self) -> str:
        """Why profiles cannot be kept at present; empty where they can."""
        return self.profiles.trouble

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Receipts of what consumers did; ``ServiceError`` 503 where the profiles cannot be reached."""
        return await self._endpoints.take(events)

    async def saw(self, events: Sequence[ConsumerEvent]) -> None:
        """Count what happened to pages of ads; that is settled already, so trouble here is logged and no more."""
        if not events:
            return
        try:
            async with asyncio.timeout(_SAW_S):
                await self.profiles.take(events)
        except (ProfilesUnavailableError, ProfileDamageError, TimeoutError) as error:
            _log.error(
                "%d ad events may be in no profile until they are told again: %s", len(events), error or "too slow"
            )

    async def known(self, user: int) -> Known:
        """The user's marks and the newest day's exposures by brand; ``STRANGER`` where the store cannot be reached."""
        try:
            profile = await self.profiles.profile(str(user))
        except (ProfilesUnavailableError, ProfileDamageError) as error:
            _log.warning("a page is decided without its user's profile: %s", error)
            return STRANGER
        if profile is None:
            return STRANGER
        marks, shown = (
            {name: number for name, number in told.items() if name in self._brands}
            for told in (profile.marks, profile.shown)
        )
        return Known(marks, shown, profile.shown_day)

    async def close(self) -> None:
        """Finish what was begun and let go of everything, in the reverse order of opening."""
        await self._stack.aclose()


def _shop(scenario: Scenario, config: ConsumersConfig) -> ShopStock:
    if config.stock is None:
        return scenario_stock(scenario, shop_url=config.shop_url)
    stock = read_stock(config.stock)
    return ShopStock(stock, np.ones(len(stock)))


async def _opened_store(config: ConsumersConfig, settings: ProfileSettings) -> ProfileStore:
    if config.profiles != REDIS:
        from tribid.ranker.profile.journaled import JournaledProfiles

        return await JournaledProfiles.open(config.profiles, settings)
    from tribid.ranker.profile.redis_store import RedisProfiles

    url = os.environ.get(REDIS_VARIABLE)
    if not url:
        raise ValueError(f"profiles is redis, but {REDIS_VARIABLE} is not set; allowed is redis://HOST:PORT/DB in it")
    return await RedisProfiles.open(url, settings, prefix=config.prefix)


def _action_journal(config: ConsumersConfig, actions: Sequence[Action], categories: int) -> ActionJournal | None:
    """The log that is learnt from, with the actions that it is about beside it, as ``tribid fit actions`` wants them."""
    wanted = config.actions
    if wanted.journal is None or wanted.salt_file is None:
        return None
    from tribid.models.actions.fit import CATALOGUE_FILE  # not needed where nothing is learnt

    journal = ActionJournal(wanted.journal, feature_names(categories), wanted.salt())
    try:  # the folder is locked: its catalogue is no running server's
        write_json(wanted.journal / CATALOGUE_FILE, actions_json(actions))
    except BaseException:
        journal.close()
        raise
    return journal


def _slots(config: ConsumersConfig, seed: int, shop: ShopStock, profiles: ProfileStore, facts: Catalogue) -> OpenTime:
    wanted = config.slots
    assert wanted is not None
    settings = OpenTimeSettings(
        budget_ms=wanted.budget_ms, same_ms=wanted.same_ms, currency=wanted.currency, shop_url=config.shop_url
    )
    slots = OpenTime(
        shop.stock,
        Signer(wanted.keys()),
        buckets=facts.buckets,
        picker=ProfilePicker(profiles, shop.stock, facts.buckets, facts.pairs),
        painter=Painter(seed, wanted.fonts),
        choices=Choices(journal=wanted.choices, identity=shop.stock.identity),
        record=into(profiles),
        settings=settings,
    )
    slots.warm(_WARM)
    return slots
