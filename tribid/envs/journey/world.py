"""The world of ``kind: journey``: a shop's users, met in scenes along their way to an order and after it. Ours.

A tick goes like this. Messages are opened and sent (``tribid.envs.journey.messages``). Then every page of the tick gets its
scene, its candidates and the user's stages from one memory, that of the tick's start. Scenes settle one after another in
the scenario's order, each with its own slots, all against the same budgets, and a visit that has left is gone in the
later ones, too; pages of a scene come in order of arrival. At the end, exposures, clicks, carts and orders join the memory,
and at a day's end what was opened in its last tick, so that everything is known on the day on which it happens. A page
keeps the number of its arrival, so what users draw on it does not depend on the scenes of others.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.outbox import empty_outbox
from tribid.envs.channels.sends import occurrence
from tribid.envs.journey.candidates import capped, fitted
from tribid.envs.journey.categories import Categories, categories_of
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.journey.effects import CTR, CVR, Effects
from tribid.envs.journey.happened import happened, outcomes_of
from tribid.envs.journey.memory import NOTHING, Memory, remembered
from tribid.envs.journey.messages import answered, checked_outreach, reached
from tribid.envs.journey.organic import opening, overnight
from tribid.envs.journey.results import Listed, Results, check_merge
from tribid.envs.journey.scenes import Layout, layouts_of, open_scenes, scene_of_pages, searched
from tribid.envs.journey.truth import JourneyTruth
from tribid.envs.platform import Forecaster, Platform, Requests
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.search.scene import SearchScene
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.settlement import Slots
from tribid.envs.shop import Shop, Visits
from tribid.envs.world import Arrivals, Day, PagePart

_KEPT, _KEPT_BYTES = 64, 64 * 2**20
"""Opening memories that a world keeps at most, and what they may take together; the last one is always kept."""
_PAIR_BYTES = 4
"""What a user and a brand take in an opening: marks, exposures and the stage."""


class Journey(Shop):
    """A shop that remembers. ``effects`` and ``categories`` depend on the world's seed alone."""

    def __init__(self, scenario: Scenario) -> None:
        config = scenario.world
        assert isinstance(config, JourneyWorld)
        self.journey: JourneyWorld = config
        self._expected = scenario.rules.outcomes == "expected"
        self._opened: dict[tuple[int, int], Memory] = {}
        super().__init__(scenario)
        self.layouts: tuple[Layout, ...] = layouts_of(config.scenes, scenario.rules.slot_effects, self.leaving)
        for scene, layout in zip(config.scenes, self.layouts, strict=True):
            if scene.candidates == "category" and config.search is not None:
                check_merge(config.search, len(layout.slot_effects), scene.name)
        self.categories: Categories = categories_of(config, self.feed.ads.category, self.items.category)
        self.effects = Effects(config, self.categories)
        self.effects.usual = self.effects.mean_of(self._organic(config.seed, 0).stages)

    def own_forecaster(self) -> Forecaster:
        """The truth with a feed's error, as far as the scenario lets predictions know of it."""
        return JourneyTruth(self, self.feed.noisy)

    def check_platform(self, platform: Platform) -> None:
        """Messages need channels to go by; who picks contents cannot where the scenario shows a single one."""
        if platform.outreach is not None:
            checked_outreach(self.journey.channels)
        single = self.journey.contents.single
        if platform.content is not None and single != "off":
            raise ValueError(
                f"platform.content was given; allowed is none where world.contents.single is {single!r}, or single 'off'"
            )

    def opening(self, day: Day) -> Memory:
        """The memory with which a day opens that continues no other."""
        memory = self._organic(day.seed, day.day)
        return self._with_outbox(memory)

    def overnight(self, memory: object, day: Day) -> Memory:
        """The memory of the day before, taken into ``day``; ``ValueError`` for that of another world, seed or day."""
        if not isinstance(memory, Memory):
            raise ValueError(f"memory is a {type(memory).__name__}; allowed is the Memory of a journey's day")
        shape = (self.journey.users.count, len(self.advertisers))
        if (memory.seed, memory.day, memory.marks.shape) != (day.seed, day.day - 1, shape):
            raise ValueError(
                f"memory is of seed {memory.seed}, day {memory.day} and {memory.marks.shape} users and brands; allowed is "
                f"seed {day.seed}, day {day.day - 1} and {shape}"
            )
        carried = overnight(memory, day.day, self.past, self.categories, self.journey.organic)
        if carried.outbox is not None:
            checked_outreach(self.journey.channels)  # what is on its way is opened, whether or not more is sent
        return self._with_outbox(carried)

    def arrivals(self, day: Day, tick: int, memory: object = None) -> Arrivals:
        """The tick's requests in the order in which they settle, for the memory of its start (None: the day's opening)."""
        known = self.opening(day) if memory is None else memory
        assert isinstance(known, Memory)
        count, visits = int(day.counts[tick]), self.visits(day, tick)
        request = day.first[tick] + np.arange(count, dtype=np.int64)
        return self.scene_pages(day, tick, request, visits, np.arange(count) % len(visits.user), known)

    def scene_pages(
        self, day: Day, tick: int, request: NDArray[np.int64], visits: Visits, visit: NDArray[np.int64], memory: Memory
    ) -> Arrivals:
        """Pages ``request`` [B] of these visits for one memory; ``visit`` [B] says whose each is."""
        hour, search = self.hour(day.day, tick), searched(visits.events)
        is_open = open_scenes(self.journey.scenes, memory, visits.user, search, hour)
        scene = scene_of_pages(self.journey.scenes, is_open[visit], day.seed, day.day, request)
        turn = occurrence(visits.user[visit])
        order = np.argsort(scene, kind="stable")
        scene, visit, turn = scene[order], visit[order], turn[order]
        plain = self.asked(day.seed, day.day, tick, request[order], visits, visit)
        plain = self._with_candidates(plain._replace(scene=scene), day, search[visit], memory)
        who = self.candidates_of(plain)
        shown = memory.shown[plain.user[:, None], who]
        if self.journey.fatigue.cap is not None:
            who = capped(who, shown, turn, self.journey.fatigue.cap)
        requests = self.with_content(day.seed, self.seen_by(plain._replace(candidates=who), memory, hour))
        requests = self.with_creatives(day.seed, requests)
        return Arrivals(requests, self.rates(day.seed, requests, visits.buying[visit].astype(np.float32)))

    def seen_by(self, requests: Requests, memory: Memory, hour: float) -> Requests:
        """The requests with what ``memory`` knows of their users and candidates at ``hour``."""
        who, user = self.candidates_of(requests), requests.user
        recent = hour - memory.bought_hour[user] <= self.journey.complements.hours
        return requests._replace(
            stage=memory.stages[user[:, None], who],
            shown=memory.shown[user[:, None], who],
            bought=np.where(recent, memory.bought[user], NOTHING).astype(np.int32),
        )

    def with_content(self, seed: int, requests: Requests) -> Requests:
        """The requests with the contents that the platform's picker chooses, or the scenario's single one."""
        single, picker, stage = self.journey.contents.single, self.platform.content, requests.stage
        assert stage is not None
        if single != "off":
            return requests._replace(content=np.full(stage.shape, CONTENTS.index(single), np.int8))
        if picker is None:
            return requests
        content = np.asarray(picker.pick(seed, requests, stage))
        if content.shape != stage.shape or content.dtype.kind not in "iu" or not ((content >= 0) & (content < 3)).all():
            raise ValueError(f"contents are {content!r:.80}; allowed is one of 0 to 2 for each candidate {stage.shape}")
        return requests._replace(content=content.astype(np.int8))

    def extras(self, requests: Requests) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The shop's and the journey's effects on the log-odds [B, N] of clicks and of conversions."""
        who = self.candidates_of(requests)
        return self.look(requests) + self.effects.of(requests, who, CTR), self.effects.of(requests, who, CVR)

    def hour(self, day: int, tick: int) -> float:
        """When a tick starts, in hours from the start of day 0."""
        return 24.0 * (day + tick / self.n_ticks)

    def page_parts(self, requests: Requests) -> Sequence[PagePart]:
        """The tick's pages scene by scene, as they settle."""
        assert requests.scene is not None
        edges = np.searchsorted(requests.scene, np.arange(len(self.layouts) + 1))
        return [
            PagePart(slice(int(first), int(last)), layout.slot_effects, layout.leaving)
            for layout, first, last in zip(self.layouts, edges[:-1], edges[1:], strict=True)
            if last > first
        ]

    def before_tick(
        self, memory: object, day: Day, tick: int, left_micros: NDArray[np.int64]
    ) -> tuple[Memory, NDArray[np.int64]]:
        """The memory after the messages of the tick's start, and what they cost the brands' budgets, [A]."""
        assert isinstance(memory, Memory)
        if memory.outbox is None:
            return memory, np.zeros_like(left_micros)
        return reached(self, memory, day, tick, left_micros)

    def after_tick(self, memory: object, day: Day, tick: int, arrivals: Arrivals, slots: Slots) -> Memory:
        """The memory with what the tick's pages did; after a day's last tick, with what its messages did, too."""
        after = self.after_pages(memory, day, tick, arrivals, slots)
        if tick + 1 < self.n_ticks:
            return after
        return answered(self, after, day, tick, self.hour(day.day + 1, 0))

    def after_pages(self, memory: object, day: Day, tick: int, arrivals: Arrivals, slots: Slots) -> Memory:
        """The memory with what the tick's pages did."""
        assert isinstance(memory, Memory)
        requests = arrivals.requests
        count = max(1, int(day.counts[tick]))
        within = (requests.request - day.first[tick] + 0.5) / count
        hour = 24.0 * (day.day + (tick + within) / self.n_ticks)
        outcomes = outcomes_of(day.seed, arrivals, slots, self.layouts, self._expected)
        did = happened(self.journey, day.seed, requests, slots, outcomes, hour, self.layouts, self.categories.category)
        return remembered(memory, did.touches, self.categories.category, did.booked_micros)

    @cached_property
    def width(self) -> int:
        """N, how many candidates a page has at most."""
        found = self.feed.candidates(np.zeros(1, np.int64))
        return len(self.advertisers) if found is None else found.shape[1]

    def listed(
        self, rule: str, category: NDArray[np.int32], seed: int, day: int, user: NDArray[np.int64]
    ) -> NDArray[np.int32] | None:
        """The candidates [B, N] of pages about these categories [B]; None where a rule asks for what the shop retrieves."""
        if rule not in self._by_rule:
            return None
        brands = self._by_rule[rule][category]
        odds = np.zeros((0, 0), np.float32)
        if brands.shape[1] > self.width:
            match = np.einsum("bd,bwd->bw", self.past.interests(seed, day, user), self.items.interests[brands])
            odds = np.asarray(self.feed.ads.ctr[brands] + self.feed.effects[0] * match, np.float32)
        return fitted(brands, odds, self.width)

    @cached_property
    def results(self) -> Results | None:
        """The world's search pages; None where a search scene is a scene as the others."""
        config = self.journey
        if config.search is None:
            return None
        search = SearchScene.of(config.search, config.seed, self.items)
        reserve_micros = round(self.rules.reserve * MICROS)
        return Results(search, self.categories.own, self.advertisers.unit_bid_micros, reserve_micros)

    def searched(
        self, scene: int, category: NDArray[np.int32], seed: int, day: int, tick: int, request: NDArray[np.int64],
        user: NDArray[np.int64],
    ) -> Listed:  # fmt: skip
        """What ``results`` lists on pages in a search scene whose visits searched these categories [B].

        Of a user that nobody knows (-1) no interests are known.
        """
        results, slots = self.results, len(self.layouts[scene].slot_effects)
        assert results is not None
        interests = self.past.interests(seed, day, np.maximum(user, 0)) * (user >= 0)[:, None]
        asked = results.searches(seed, day, self.hour(day, tick), request, category, interests.astype(np.float64))
        return results.listed(asked, category, slots, self.width)

    @cached_property
    def _by_rule(self) -> dict[str, NDArray[np.int32]]:
        """The brands [C + 1, W] that each rule lists for a category."""
        tables = self.categories
        listed = {"category": tables.own, "cart": tables.around, "complement": tables.complements}
        if not self.journey.complements.retrieved:
            del listed["complement"]
        return listed

    def _with_candidates(self, requests: Requests, day: Day, search: NDArray[np.int32], memory: Memory) -> Requests:
        """The requests with candidates by the rule of each page's scene, before the cap, and a search page's reserve."""
        who, reserve = np.array(self.candidates_of(requests), np.int32), requests.reserve_micros.copy()
        user = requests.user
        about = {"category": search, "cart": memory.cart[user], "complement": memory.bought[user], "interest": search}
        for s, one in enumerate(self.journey.scenes):
            rows = np.flatnonzero(requests.scene == s)
            if one.candidates == "category" and self.results is not None and len(rows):
                who[rows], reserve[rows] = self.searched(
                    s, search[rows], day.seed, day.day, requests.tick, requests.request[rows], user[rows]
                )
                continue
            listed = self.listed(one.candidates, about[one.candidates][rows], day.seed, day.day, user[rows])
            if listed is not None:
                who[rows] = listed
        return requests._replace(candidates=who, reserve_micros=reserve)

    def _organic(self, seed: int, day: int) -> Memory:
        """The opening memory; the last ones are kept."""
        kept, users = self._opened, self.journey.users.count
        found = kept.get((seed, day))
        if found is None:
            most = _KEPT_BYTES // (_PAIR_BYTES * users * len(self.advertisers))
            while len(kept) >= max(1, min(_KEPT, most)):
                kept.pop(next(iter(kept)), None)
            found = kept[seed, day] = opening(seed, day, users, self.past, self.categories, self.journey.organic)
        return found

    def _with_outbox(self, memory: Memory) -> Memory:
        """Messages are remembered where some can be sent."""
        if self.platform.outreach is None or memory.outbox is not None:
            return memory
        return replace(memory, outbox=empty_outbox((*memory.marks.shape, len(CHANNELS))))
