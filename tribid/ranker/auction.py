"""One page's bids, OCPC, ranking and prices, by the simulator's own ``decide_block``, with everything kept that can be."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.auctions.ocpc_block import OcpcTile, new_tile
from tribid.envs.advertisers import Advertisers
from tribid.envs.decision import NO_BELIEF, Desk, Law, decide_block, law_of, new_desk, slot_effects_of
from tribid.envs.places import Places, everybodys_places
from tribid.envs.platform import Rates
from tribid.envs.scenario import Rules
from tribid.envs.settlement import Block, Slots, new_block, new_slots, observe_block
from tribid.envs.workspace import Workspace
from tribid.ranker.page import NO_SHELF, Page


class Priced(NamedTuple):
    """A page's auction, slot by slot from the top, of those that are taken; money in micros.

    ``ads`` the advertisers and ``places`` where they stand among the candidates, ``price_micros`` per click (or impression),
    ``own_bid_micros`` their bids after OCPC, ``score``; the ``runner_up`` (-1: nobody) and its score; ``bid_micros`` [N] of
    all candidates, where they were asked for.
    """

    ads: list[int]
    places: list[int]
    price_micros: list[int]
    own_bid_micros: list[int]
    score: list[float]
    runner_up: int
    runner_up_score: float
    bid_micros: NDArray[np.int64] | None


class Auction:
    """Bids, OCPC and the auction of single pages under one scenario's rules.

    A decision depends on nothing but the page, the multipliers and the budgets left: the same rows decided in a batch by
    ``tribid.envs.decision.decide`` get the same answer bit for bit. Its working memory is for one thread.
    """

    def __init__(self, rules: Rules, advertisers: Advertisers, seed: int, shelves: Places | None = None) -> None:
        self._rules, self._advertisers, self._seed = rules, advertisers, np.uint64(seed)
        self._law, self._slot_effects = law_of(rules), slot_effects_of(rules)
        self._is_dynamic = rules.ocpc.index == "dynamic"
        self._everybody, self._shelves = everybodys_places(advertisers), shelves
        self._terms = np.concatenate(self._everybody[1:6])  # [5, A], so that a page's candidates are looked up once
        self._segment, self._reserve = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._request, self._buying = np.zeros(1, np.int64), np.zeros(1, np.float32)
        self._kept: dict[int, Workspace] = {}
        self._no_pages = new_slots(0, len(self._slot_effects))
        self._nothing_seen = np.zeros((0, 0, 0))
        self._first, self._place = np.zeros(len(advertisers) + 1, np.int64), np.zeros(0, np.int64)

    def __call__(
        self,
        page: Page,
        predicted: Rates,
        multipliers: NDArray[np.float64],
        left_micros: NDArray[np.int64],
        seen: NDArray[np.float64] | None = None,
        every_bid: bool = False,
    ) -> Priced:
        """Decide a page for the multipliers [N] of its candidates and what everybody [A] may still promise.

        ``seen`` [5, G, N] is where the page's observation is added up (see ``observe_block``), on the page's shelf if that
        has one of its own there, else on the first. ``every_bid`` asks for the bids of all candidates.
        """
        n = predicted.ctr.shape[1]
        desk, tile, block = self._workspace(n, page)
        places = self._places(page)
        buying = NO_BELIEF
        if self._is_dynamic and page.belief.buying is not None:
            self._buying[0] = page.belief.buying[0]
            buying = self._buying
        self._reserve[0], self._request[0] = page.reserve_micros, page.request.request
        shelf = 0 if seen is None or seen.shape[1] == 1 else max(0, page.found.shelf)
        _decide_page(
            self._law, self._slot_effects, places, np.ascontiguousarray(multipliers), self._cap(page, left_micros),
            self._segment, self._reserve, buying, self._seed, page.day, self._request, predicted.ctr, predicted.cvr, n,
            self._nothing_seen if seen is None else seen, shelf, desk, tile, block, self._no_pages,
        )  # fmt: skip
        return self._read(page, desk, n, every_bid)

    def _workspace(self, n: int, page: Page) -> Workspace:
        """Working memory for N candidates; where their number changes from page to page, of the next power of two."""
        whole = page.found.ads is None or page.found.shelf != NO_SHELF
        size = n if whole else max(64, 1 << (n - 1).bit_length())
        if size not in self._kept:
            slots = len(self._slot_effects)
            self._kept[size] = (new_desk(size, slots), new_tile(size), new_block(slots))
        return self._kept[size]

    def _places(self, page: Page) -> Places:
        """The page's candidates on a shelf of their own."""
        who, shelf, kept = page.found.ads, page.found.shelf, self._shelves
        if who is None:
            return self._everybody
        if shelf != NO_SHELF and kept is not None:
            part = slice(shelf, shelf + 1)
            return Places(
                who, kept.click[part], kept.per_pcvr[part], kept.mean_pcvr[part], kept.value[part], kept.opted[part],
                kept.cap_micros, self._first, self._place,
            )  # fmt: skip
        click, per_pcvr, mean_pcvr, value, opted = self._terms.take(who, axis=1)
        return Places(
            who, click, per_pcvr, mean_pcvr, value, opted, self._everybody.cap_micros, self._first, self._place
        )  # fmt: skip

    def _cap(self, page: Page, left_micros: NDArray[np.int64]) -> NDArray[np.float64]:
        """The most that may be bid on each place [1, N], as ``tribid.envs.places.fill_caps`` has it."""
        limit = self._advertisers.cap_micros
        if page.found.ads is None:
            most = np.minimum(limit, left_micros)[None]
        else:
            who = page.found.ads
            most = np.minimum(limit.take(who), left_micros.take(who))
        return np.maximum(most, 0).astype(np.float64)

    def _read(self, page: Page, desk: Desk, n: int, every_bid: bool) -> Priced:
        places = desk.top[0].tolist()
        shown = places[:-1]
        taken = shown.index(-1) if -1 in shown else len(shown)
        who, bids = page.found.ads, desk.bids[0]
        named = places if who is None else [-1 if place < 0 else int(who[0, place]) for place in places]
        scores = desk.top_score[0].tolist()
        return Priced(
            ads=named[:taken],
            places=places[:taken],
            price_micros=desk.price[0].tolist()[:taken],
            own_bid_micros=[int(bids[place]) for place in places[:taken]],
            score=scores[:taken],
            runner_up=named[-1],
            runner_up_score=scores[-1],
            bid_micros=bids[:n].astype(np.int64) if every_bid else None,
        )


@njit(cache=True, error_model="numpy")
def _decide_page(
    law: Law, slot_effects: Any, places: Places, multiplier: Any, cap: Any, segment: Any, reserve: Any, buying: Any,
    seed: Any, day: Any, request: Any, pctr: Any, pcvr: Any, n: Any, seen: Any, shelf: Any, desk: Desk, tile: OcpcTile,
    block: Block, no_pages: Slots,
) -> None:  # fmt: skip
    """Decide one request into the first row of the desk, and add up what its candidates see of it.

    ``multiplier`` [N], ``cap`` [1, N]; ``seen`` [5, G, N] on its shelf, or empty: then nothing is added up.
    """
    block.rows[0], block.at[0], block.shelf[0], block.shown[0] = 0, 0, 0, True
    decide_block(
        law, slot_effects, places, multiplier.reshape((1, 1, n)), cap, block.shelf, segment, reserve, buying, seed, day,
        request, pctr, pcvr, block.at, block.rows, 1, n, desk, tile,
    )  # fmt: skip
    if seen.shape[0] > 0:
        block.shelf[0] = shelf
        observe_block(reserve, places.who, pctr, pcvr, n, 1, seen, desk, block, no_pages)
