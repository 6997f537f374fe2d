"""A synthetic e-commerce feed: a population with latent interests, visits that browse or buy, items with a price.

The truth is one logistic model with shared user effects: the log-odds of a click are the ad's level plus the user's
activity plus the match of the user's interests with the item, plus the effect of a buying visit; conversions likewise,
with the user's purchase power and the item's price. Every design choice of this module is ours.
"""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tribid.auctions import trimmed_mean_pcvr
from tribid.envs.advertisers import Advertisers, advertiser_arrays
from tribid.envs.catalogue import item_interests
from tribid.envs.chance import Stream, normals, stream_key, strides64
from tribid.envs.decision import NO_BELIEF
from tribid.envs.feed_kernels import (
    BY_CLUSTER,
    BY_NOBODY,
    BY_STATE,
    KEPT_RATES,
    Crowd,
    Errors,
    FeedModel,
    KnownRates,
    Shelves,
    TickPlan,
    draw_visits,
    settle_feed,
    settle_part,
    true_rates,
    visits_of,
)
from tribid.envs.places import EVERYBODY, Places, everybodys_places, places_of
from tribid.envs.platform import Forecaster, NoisyTruth, Rates, Requests
from tribid.envs.scenario import MICROS, Advertiser, GeneratedAdvertisers, Scenario
from tribid.envs.settlement import Leaving
from tribid.envs.shelves import cells_of, shelves_of
from tribid.envs.traffic import plan_day
from tribid.envs.world import Arrivals, Day, Settling
from tribid.envs.worlds import FeedWorld

_CALIBRATION_REQUESTS = 4096
_BEFORE = 0xFFFFFFFF
"""The number of the day before the first: no market day has it."""


class Feed:
    """The world of ``kind: feed``. Population and items depend on the world's seed alone, never on the day's."""

    def __init__(self, scenario: Scenario) -> None:
        assert isinstance(scenario.world, FeedWorld)
        self.config = config = scenario.world
        self.rules = scenario.rules
        self.n_ticks = config.traffic.ticks
        self.users = _Users(config)
        self.ads = _Ads(config, scenario.advertisers or scenario.generated)
        self._who, self._shelves, self._crowd = _stocked(config, self.users, self.ads)
        self.noisy = noisy = _forecaster(config, len(self.ads.price))
        self._shelves = self._shelves._replace(
            ctr_bias=self._on_shelves(noisy.ctr_bias), cvr_bias=self._on_shelves(noisy.cvr_bias)
        )
        self.forecaster: Forecaster = noisy if config.prediction.knows_state else StateBlind(self, noisy)
        self.cluster = self.users.clusters(self)
        self._crowd = self._crowd._replace(cluster=self.cluster)
        self._errors = Errors(
            noisy.ctr_table, noisy.cvr_table, config.prediction.knows_state, config.users.buying_share
        )
        self.leaving = Leaving(
            config.users.leave_base,
            config.users.leave_irrelevance,
            float(self.sample_rates()[0].ctr.mean(dtype=np.float64)),
        )
        self.n_segments = {"none": 1, "state": 2, "cluster": config.users.clusters}[scenario.rules.segments]
        self.advertisers = self._priced(scenario)

    def day(self, seed: int, day: int) -> Day:
        """Counts of each tick."""
        return plan_day(self.config.traffic, seed, day)

    def arrivals(self, day: Day, tick: int) -> Arrivals:
        """Requests of the tick; request j belongs to visit j mod S, so that visits interleave."""
        count = int(day.counts[tick])
        visits = self.n_visits(count)
        user, buying, guess = self.visits(day, tick, visits)
        visit = np.arange(count, dtype=np.int64) % visits
        requests = Requests(
            day=day.day,
            tick=tick,
            request=day.first[tick] + np.arange(count, dtype=np.int64),
            user=user[visit],
            session=visit,
            segment=self.segment(user, guess)[visit],
            reserve_micros=np.full(count, round(self.rules.reserve * MICROS), np.int64),
            candidates=self.candidates(user[visit]),
            buying=self.beliefs[guess[visit].astype(np.int64)] if self.is_dynamic else None,
        )
        return Arrivals(requests, self.truth(requests.user, buying[visit]))

    def candidates(self, user: NDArray[np.int64]) -> NDArray[np.int32] | None:
        """The advertisers [B, N] that are retrieved for these users; None where everybody is."""
        return self._who[self._crowd.shelf[user]] if len(self._who) else None

    def shelf_of(self, user: int) -> int | None:
        """The shelf whose ads are retrieved for this user; None where everybody is."""
        return int(self._crowd.shelf[user]) if len(self._who) else None

    def rates_of(self, user: NDArray[np.int64], buying: NDArray[np.float32], who: NDArray[np.int32]) -> Rates:
        """True rates [B, N] of any ads ``who`` [B, N] for users whose visits mean to buy with the chance ``buying`` [B]."""
        ads, crowd = self.ads, self._crowd
        own = Crowd(
            crowd.interests[user], crowd.activity[user], crowd.power[user], crowd.cluster[user], np.arange(len(user))
        )
        interests = np.ascontiguousarray(ads.interests[:, who].swapaxes(0, 1))
        shelves = self._shelves._replace(interests=interests, ctr=ads.ctr[who], cvr=ads.cvr[who])
        out = Rates(*(np.empty(who.shape, np.float32) for _ in range(2)))
        true_rates(own.shelf, buying, own, shelves, self.effects, out.ctr, out.cvr)
        return out

    @property
    def is_dynamic(self) -> bool:
        """Whether ads are ranked by what the platform believes of the visit."""
        return self.rules.ocpc.index == "dynamic"

    @cached_property
    def beliefs(self) -> NDArray[np.float32]:
        """How likely a visit means to buy that the platform guesses to browse, and to buy: [2].

        Bayes' rule from the guess's accuracy and the mean share of buying visits, which is what a platform knows.
        """
        share, right = self.config.users.buying_share, self.config.users.state_accuracy
        both = np.array([[share * (1 - right), share * right], [(1 - share) * right, (1 - share) * (1 - right)]])
        seen = both.sum(axis=0)
        return np.where(seen > 0, both[0] / np.where(seen > 0, seen, 1.0), share).astype(np.float32)

    @cached_property
    def places(self) -> Places:
        """Who is a candidate where."""
        return places_of(self.advertisers, self._who) if len(self._who) else everybodys_places(self.advertisers)

    def settle(self, days: Sequence[Day], tick: int, job: Settling) -> None:
        """Play a tick of several days without storing its rates; see ``DirectWorld``."""
        settle_feed(*job, self._model, self._plan(days, tick))

    def settle_part(
        self, day: Day, tick: int, job: Settling, part: range, gone: NDArray[np.bool_], seen: NDArray[np.float64]
    ) -> None:
        """Play some requests of one day's tick; ``gone`` [visits] and ``seen`` [5, G, N] go from part to part."""
        settle_part(*job, self._model, self._plan((day,), tick), part.start, part.stop, gone, seen)

    @cached_property
    def _model(self) -> FeedModel:
        return FeedModel(self._crowd, self._shelves, self._errors, self._known(), self.effects)

    def _known(self) -> KnownRates:
        """Every user's rates in either state, if they are few enough to be kept."""
        users, n = self.config.users.count, self._shelves.ctr.shape[1]
        if 2 * users * n > KEPT_RATES:
            return KnownRates(*(np.zeros((0, n), np.float32) for _ in KnownRates._fields))
        user = np.arange(users)
        states = [self.truth(user, np.full(users, buying)) for buying in (False, True)]
        truth = Rates(*(np.concatenate(both) for both in zip(*states, strict=True)))
        believed, shelf = truth, np.tile(self._crowd.shelf, 2)
        if not self.config.prediction.knows_state:
            believed, shelf = self.state_blind(user), self._crowd.shelf
        return KnownRates(
            *truth, believed.ctr * self._shelves.ctr_bias[shelf], believed.cvr * self._shelves.cvr_bias[shelf]
        )

    def _plan(self, days: Sequence[Day], tick: int) -> TickPlan:
        return TickPlan(
            seed=np.array([day.seed for day in days], np.uint64),
            day=np.array([day.day for day in days], np.int64),
            first=np.array([day.first[tick] for day in days], np.int64),
            total=np.array([day.counts[tick] for day in days], np.int64),
            ctr_key=np.array([stream_key(day.seed, Stream.CTR_ERROR, day.day) for day in days], np.uint64),
            cvr_key=np.array([stream_key(day.seed, Stream.CVR_ERROR, day.day) for day in days], np.uint64),
            session_length=self.config.traffic.session_length,
            buying_share=self.buying_share(tick),
            accuracy=self.config.users.state_accuracy,
            segments={"none": BY_NOBODY, "state": BY_STATE, "cluster": BY_CLUSTER}[self.rules.segments],
            reserve=round(self.rules.reserve * MICROS),
            beliefs=self.beliefs if self.is_dynamic else NO_BELIEF,
        )

    def n_visits(self, requests: int) -> int:
        """How many visits this many requests of a tick belong to."""
        return int(visits_of(requests, self.config.traffic.session_length))

    def share_of_requests(self) -> NDArray[np.float64]:
        """In which share of the users' requests each ad is a candidate [A]; an ad on no shelf counts as on one user's."""
        n, users = len(self.ads.price), self.config.users.count
        if not len(self._who):
            return np.ones(n)
        visits = np.bincount(self._crowd.shelf, minlength=len(self._who))
        seen = np.bincount(self._who.ravel(), np.repeat(visits, self._who.shape[1]), minlength=n)
        return np.maximum(seen, 1.0) / users

    def _on_shelves(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """An ad's value [A] wherever the ad stands, [G, N]."""
        return values[self._who] if len(self._who) else values[None]

    def segment(self, user: NDArray[np.int64], buying: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The segment [B] that a policy may act on, from what the platform believes of the visit."""
        if self.rules.segments == "state":
            return buying.astype(np.int64)
        if self.rules.segments == "cluster":
            return self.cluster[user]
        return np.zeros(len(user), np.int64)

    def buying_share(self, tick: int) -> float:
        """Share of the tick's visits that mean to buy: a daily cosine around the scenario's mean share."""
        users, hour = self.config.users, (tick + 0.5) * 24.0 / self.n_ticks
        swing = users.buying_swing * math.cos(2.0 * math.pi * (hour - users.buying_peak_hour) / 24.0)
        return min(1.0, users.buying_share * (1.0 + swing))

    def truth(self, user: NDArray[np.int64], buying: NDArray[np.bool_]) -> Rates:
        """True rates [B, A] of every ad for these users in these states."""
        return self._rates(user, buying.astype(np.float32))

    def state_blind(self, user: NDArray[np.int64]) -> Rates:
        """Rates [B, A] as one sees them who does not know a visit's state: its effects weighted by their mean share."""
        return self._rates(user, np.full(len(user), self.config.users.buying_share, np.float32))

    def _rates(self, user: NDArray[np.int64], buying: NDArray[np.float32]) -> Rates:
        out = Rates(*(np.empty((len(user), self._shelves.ctr.shape[1]), np.float32) for _ in range(2)))
        true_rates(user, buying, self._crowd, self._shelves, self.effects, out.ctr, out.cvr)
        return out

    @cached_property
    def effects(self) -> NDArray[np.float32]:
        """On the log-odds: interest on clicks and on conversions, a buying visit on clicks and on conversions."""
        rates, users = self.config.rates, self.config.users
        effects = [rates.interest_ctr, rates.interest_cvr, users.buying_ctr_effect, users.buying_cvr_effect]
        return np.array(effects, np.float32)

    def visits(
        self, day: Day, tick: int, visits: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """User, true state and the platform's guess of it for each of a tick's visits, all [visits]."""
        users = self.config.users
        share = self.buying_share(tick) if day.day != _BEFORE else users.buying_share
        user, buying, guess = np.empty(visits, np.int64), np.empty(visits, np.bool_), np.empty(visits, np.bool_)
        draw_visits(
            np.uint64(day.seed), day.day, day.first[tick], users.count, share, users.state_accuracy,
            user, buying, guess,
        )  # fmt: skip
        return user, buying, guess

    def sample_rates(self, count: int = _CALIBRATION_REQUESTS) -> tuple[Rates, Rates]:
        """True and predicted rates of ``count`` requests of a day before the first, as a platform would have logged."""
        day = Day(self.config.seed, _BEFORE, np.array([count]), np.array([0]), np.ones(1))
        user, buying, _ = self.visits(day, 0, count)
        truth = self.truth(user, buying)
        nothing = np.zeros(count, np.int64)
        requests = Requests(day.day, 0, np.arange(count), user, nothing, nothing, nothing, self.candidates(user))
        return truth, self.forecaster.predict(day.seed, requests, truth)

    def _priced(self, scenario: Scenario) -> Advertisers:
        if len(self._who):
            mean_pctr, mean_pcvr = self._usual_rates()
        else:
            _, predicted = self.sample_rates()
            mean_pctr = predicted.ctr.mean(axis=0, dtype=np.float64)
            mean_pcvr = trimmed_mean_pcvr(predicted.cvr.T)
        self.listed = scenario.advertisers or generated_advertisers(scenario.generated, self, mean_pctr, mean_pcvr)
        return advertiser_arrays(self.listed, scenario.rules, mean_pctr, mean_pcvr)

    def _usual_rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean predictions of each ad where it was a candidate; of an ad that never was, its level's.

        The trimmed mean is over the predictions of one ad, as without retrieval.
        """
        user, _, _ = self.visits(Day(self.config.seed, _BEFORE, np.array([0]), np.array([0]), np.ones(1)), 0, 4096)
        _, predicted = self.sample_rates()
        listed = self.candidates(user)
        assert listed is not None
        order = np.argsort(listed, axis=None, kind="stable")
        ads, starts = np.unique(listed.ravel()[order], return_index=True)
        pctr, pcvr = (1.0 / (1.0 + np.exp(-level.astype(np.float64))) for level in (self.ads.ctr, self.ads.cvr))
        pctr[ads] = [part.mean(dtype=np.float64) for part in np.split(predicted.ctr.ravel()[order], starts[1:])]
        pcvr[ads] = [float(trimmed_mean_pcvr(part)) for part in np.split(predicted.cvr.ravel()[order], starts[1:])]
        return pctr, pcvr


class StateBlind:
    """A platform whose models do not know whether a visit browses or buys: they predict the user's average.

    What a state model is worth is then left to whoever acts on it, such as a policy with one action per state.
    """

    def __init__(self, feed: Feed, noisy: NoisyTruth) -> None:
        self._feed, self._noisy = feed, noisy

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        """Predicted rates [B, A]; ``truth`` gives way to the average over states, then the usual error follows."""
        return self._noisy.predict(seed, requests, self._feed.state_blind(requests.user))


class _Users:
    """Interests [U, d], and the log-odds effects of activity and purchase power [U], all float32."""

    def __init__(self, config: FeedWorld) -> None:
        users = config.users
        index = np.arange(users.count)
        words = -(-users.interests // 4)
        draws = [normals(config.seed, Stream.USERS, request=index, ad=word) for word in range(words)]
        self.interests = np.hstack(draws)[:, : users.interests].astype(np.float32)
        traits = normals(config.seed, Stream.USERS, request=index, ad=words)
        self.activity = (users.activity_spread * traits[:, 0]).astype(np.float32)
        self.power = (users.purchase_power_spread * traits[:, 1]).astype(np.float32)
        self._count, self._clusters = users.count, users.clusters

    def clusters(self, feed: "Feed") -> NDArray[np.int64]:
        """Consumer clusters [U]: users sorted by expected revenue, cut into equal parts (Jin et al., CIKM 2018)."""
        revenue = np.empty(self._count)
        for start in range(0, self._count, 4096):
            user = np.arange(start, min(start + 4096, self._count))
            rates = feed.truth(user, np.zeros(len(user), np.bool_))
            listed = feed.candidates(user)
            worth = rates.ctr * rates.cvr
            revenue[user] = worth @ feed.ads.price if listed is None else (worth * feed.ads.price[listed]).sum(axis=1)
        rank = np.empty(self._count, np.int64)
        rank[np.argsort(revenue, kind="stable")] = np.arange(self._count)
        clusters: NDArray[np.int64] = rank * self._clusters // self._count
        return clusters


class _Ads:
    """Item embeddings [d, A] of unit length, prices [A], and the log-odds levels of click and conversion [A]."""

    def __init__(self, config: FeedWorld, wanted: GeneratedAdvertisers | tuple[Advertiser, ...]) -> None:
        rates, dims, seed = config.rates, config.users.interests, config.seed
        count = wanted.count if isinstance(wanted, GeneratedAdvertisers) else len(wanted)
        traits = normals(seed, Stream.ITEMS, request=np.arange(count))
        if isinstance(wanted, GeneratedAdvertisers):
            self.category = np.arange(count) % config.categories
            self.price = np.round(wanted.price * np.exp(wanted.price_spread * traits[:, 2]), 2)
        else:
            self.category = np.array([advertiser.category for advertiser in wanted])
            self.price = np.array([advertiser.price for advertiser in wanted])
            if self.category.max() >= config.categories:
                raise ValueError(
                    f"advertisers: category is {self.category.max()}; allowed is 0 to {config.categories - 1} "
                    f"(world.categories is {config.categories})"
                )
        self.interests = np.ascontiguousarray(item_interests(seed, self.category, dims).T, np.float32)
        self.ctr = (_logit(rates.ctr) + rates.ad_ctr_spread * traits[:, 0]).astype(np.float32)
        dearer = np.log(self.price) - np.log(self.price).mean()
        self.cvr = (_logit(rates.cvr) + rates.ad_cvr_spread * traits[:, 1] - rates.price_effect * dearer).astype(
            np.float32
        )


def _stocked(config: FeedWorld, users: _Users, ads: _Ads) -> tuple[NDArray[np.int32], Shelves, Crowd]:
    """Who stands on which shelf, what they bring there (without biases), and the crowd (without clusters)."""
    shelf, who = np.zeros(users.activity.shape[0], np.int64), EVERYBODY
    interests, ctr, cvr = ads.interests[None], ads.ctr[None], ads.cvr[None]
    if config.retrieval is not None and config.retrieval.candidates < len(ads.price):
        centres = cells_of(config.seed, config.retrieval.cells, config.users.interests)
        shelf = (users.interests @ centres.T).argmax(axis=1).astype(np.int64)
        who = shelves_of(centres, ads.interests, ads.ctr, config.rates.interest_ctr, config.retrieval.candidates)
        interests, ctr, cvr = np.ascontiguousarray(ads.interests[:, who].swapaxes(0, 1)), ads.ctr[who], ads.cvr[who]
    crowd = Crowd(users.interests, users.activity, users.power, np.zeros(0, np.int64), shelf)
    strides = strides64(len(ads.price))
    own = strides[who] if len(who) else strides[None]
    return who, Shelves(interests, ctr, cvr, np.zeros_like(ctr), np.zeros_like(cvr), own), crowd


def _forecaster(config: FeedWorld, ads: int) -> NoisyTruth:
    prediction = config.prediction
    spread = prediction.ad_calibration_spread * normals(config.seed, Stream.CALIBRATION, request=np.arange(ads))
    return NoisyTruth(
        prediction.ctr_calibration * np.exp(spread[:, 0]),
        prediction.cvr_calibration * np.exp(spread[:, 1]),
        prediction.ctr_noise,
        prediction.cvr_noise,
    )


def generated_advertisers(
    wanted: GeneratedAdvertisers, feed: Feed, mean_pctr: NDArray[np.float64], mean_pcvr: NDArray[np.float64]
) -> tuple[Advertiser, ...]:
    """What ``GeneratedAdvertisers`` describes, for a feed whose ads have these mean predicted rates, each [A]."""
    requests, share = feed.config.traffic.requests, feed.share_of_requests()
    spread = normals(feed.config.seed, Stream.ADVERTISERS, request=np.arange(wanted.count))
    advertisers = []
    for i in range(wanted.count):
        price, objective = float(feed.ads.price[i]), wanted.objectives[i % len(wanted.objectives)]
        affordable = wanted.margin * price
        base_bid = max(0.01, round(wanted.bid_level * affordable * float(mean_pcvr[i]), 4))
        everything = requests * float(mean_pctr[i]) * base_bid * share[i]
        budget = round(wanted.budget_share * everything * math.exp(wanted.budget_spread * spread[i, 0]), 2)
        advertisers.append(
            Advertiser(
                name=f"adv_{i:02d}",
                objective=objective,
                budget=max(wanted.least_budget, budget),
                base_bid=base_bid,
                category=int(feed.ads.category[i]),
                price=price,
                target_cpa=round(affordable, 2) if objective == "target_cpa" else None,
                target_roas=round(1 / wanted.margin, 3) if objective == "target_roas" else None,
                bid_form=wanted.bid_form,
            )
        )
    return tuple(advertisers)


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))
