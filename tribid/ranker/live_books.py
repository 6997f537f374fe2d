"""``LiveBooks``: what a day's advertisers have seen so far, kept tick by tick with the simulator's own sums."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tribid.envs.advertisers import Advertisers
from tribid.envs.feed import Feed
from tribid.envs.market import RECENT_TICKS, Ledger, MarketState
from tribid.envs.places import EVERYBODY
from tribid.envs.scenario import Scenario
from tribid.envs.settlement import new_counts, tell
from tribid.envs.shop import Shop
from tribid.ranker.auction import Priced
from tribid.ranker.page import NO_SHELF, Page


class LiveBooks:
    """Counts and money of the open day: of this tick, of the last three, of the day.

    What the market would have counted of the same pages and events is counted here, in the same order, so that a day that
    is played again shows its bidders the same observations to the bit. ``by_shelf`` keeps what is observed by shelf until
    the tick ends, as a feed with its own forecaster does; else it is told page by page.

    After a restart within a day the counts begin anew; what was spent is the ledger's and goes on.
    """

    def __init__(self, scenario: Scenario, world: Feed | Shop, seed: int, *, by_shelf: bool) -> None:
        self._scenario, self._world, self._seed = scenario, world, seed
        shelves = world.places if isinstance(world, Feed) and by_shelf else None
        self._who = EVERYBODY if shelves is None else shelves.who
        shape = (1, len(world.advertisers)) if shelves is None else shelves.click.shape
        self._by_shelf = shelves is not None and len(shelves.who) > 0
        self._seen = np.zeros((5, *shape))
        self._of_page = np.zeros((5, 1, 0))
        self.open(0, np.zeros(len(world.advertisers), np.int64))

    def open(self, day: int, spent_micros: NDArray[np.int64], tick: int = 0) -> None:
        """Begin day ``day`` at ``tick``; ``spent_micros`` [A] is what was paid of its budgets before."""
        a = len(self._world.advertisers)
        self.day, self.tick = self._world.day(self._seed, day), tick
        self._counts, self._spent = new_counts(a), spent_micros.copy()
        self._recent: tuple[Ledger, ...] = ()
        self._total = Ledger(new_counts(a), spent_micros.copy())
        self._seen[:] = 0.0
        self._base = MarketState(
            scenario=self._scenario, world=self._world, forecaster=self._world.forecaster, day=self.day, tick=tick,
            left_micros=np.maximum(self._world.advertisers.budget_micros - spent_micros, 0),
            multipliers=np.ones((a, self._world.n_segments)), recent=(), total=self._total,
        )  # fmt: skip

    @property
    def advertisers(self) -> Advertisers:
        """The advertisers as arrays."""
        return self._world.advertisers

    @property
    def clicks(self) -> NDArray[np.float64]:
        """Everybody's clicks [A] today, up to the last tick's end."""
        return self._total.counts.clicks

    def seen(self, page: Page) -> NDArray[np.float64]:
        """Where the auction adds up what a page's candidates see of it, [5, G, N]; call ``told`` afterwards."""
        if page.found.ads is None or (self._by_shelf and page.found.shelf != NO_SHELF):
            return self._seen
        n = page.found.ads.shape[1]
        if self._of_page.shape[2] != n:
            self._of_page = np.zeros((5, 1, n))
        return self._of_page

    def told(self, page: Page) -> None:
        """A page has been decided: count what its candidates saw."""
        if page.found.ads is None or (self._by_shelf and page.found.shelf != NO_SHELF):
            return
        tell(page.found.ads, self._of_page, self._counts)
        self._of_page[:] = 0.0

    def shown(self, priced: Priced) -> None:
        """A page has been answered: its slots are won."""
        wins, price = self._counts.wins, self._counts.price
        for ad, micros in zip(priced.ads, priced.price_micros, strict=True):
            wins[ad] += 1.0
            price[ad] += float(micros)

    def happened(self, ad: int, kind: Literal["impression", "click", "conversion"]) -> None:
        """Something happened to one of an advertiser's slots."""
        counts = self._counts
        {"impression": counts.exposures, "click": counts.clicks, "conversion": counts.conversions}[kind][ad] += 1.0

    def state(self) -> MarketState:
        """The market before this tick, as ``observe`` reads it, with multipliers of 1; it never changes afterwards."""
        return self._base

    def close_tick(self, spent_micros: NDArray[np.int64]) -> MarketState:
        """End the tick, with what everybody [A] has spent of the day's budget; the market before the next one."""
        tell(self._who, self._seen, self._counts)
        self._seen[:] = 0.0
        ledger = Ledger(self._counts, spent_micros - self._spent)
        self._recent = (ledger, *self._recent[: RECENT_TICKS - 1])
        self._total = self._total + ledger
        self._counts, self._spent = new_counts(len(spent_micros)), spent_micros.copy()
        self.tick += 1
        self._base = MarketState(
            scenario=self._scenario, world=self._world, forecaster=self._world.forecaster, day=self.day, tick=self.tick,
            left_micros=np.maximum(self._world.advertisers.budget_micros - spent_micros, 0),
            multipliers=self._base.multipliers, recent=self._recent, total=self._total,
        )  # fmt: skip
        return self._base
