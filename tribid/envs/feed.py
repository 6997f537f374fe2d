"""A synthetic e-commerce feed: a population with latent interests, visits that browse or buy, items with a price.

The truth is one logistic model with shared user effects: the log-odds of a click are the ad's level plus the user's
activity plus the match of the user's interests with the item, plus the effect of a buying visit; conversions likewise,
with the user's purchase power and the item's price. Every design choice of this module is ours.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.auctions import trimmed_mean_pcvr
from tribid.envs.advertisers import Advertisers, advertiser_arrays
from tribid.envs.chance import Stream, normals, unit4
from tribid.envs.platform import Forecaster, NoisyTruth, Rates, Requests
from tribid.envs.scenario import MICROS, Advertiser, FeedWorld, GeneratedAdvertisers, Scenario
from tribid.envs.settlement import Leaving
from tribid.envs.traffic import plan_day
from tribid.envs.world import Arrivals, Day

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
        self._users = _Users(config)
        self._ads = _Ads(config, scenario.advertisers or scenario.generated)
        noisy = _forecaster(config, len(self._ads.price))
        self.forecaster: Forecaster = noisy if config.prediction.knows_state else StateBlind(self, noisy)
        self.cluster = self._users.clusters(self)
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
        visits = max(1, -(-count // self.config.traffic.session_length))
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
        )
        return Arrivals(requests, self.truth(requests.user, buying[visit]))

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
        out = Rates(*(np.empty((len(user), len(self._ads.price)), np.float32) for _ in range(2)))
        u, a, config = self._users, self._ads, self.config
        effects = np.array(
            [
                config.rates.interest_ctr,
                config.rates.interest_cvr,
                config.users.buying_ctr_effect,
                config.users.buying_cvr_effect,
            ],
            np.float32,
        )
        _true_rates(
            user, buying, u.interests, u.activity, u.power, a.interests, a.ctr, a.cvr, effects, out.ctr, out.cvr
        )
        return out

    def visits(
        self, day: Day, tick: int, visits: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """User, true state and the platform's guess of it for each of a tick's visits, all [visits]."""
        users = self.config.users
        share = self.buying_share(tick) if day.day != _BEFORE else users.buying_share
        user, buying, guess = np.empty(visits, np.int64), np.empty(visits, np.bool_), np.empty(visits, np.bool_)
        _draw_visits(
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
        requests = Requests(day.day, 0, np.arange(count), user, nothing, nothing, nothing)
        return truth, self.forecaster.predict(day.seed, requests, truth)

    def _priced(self, scenario: Scenario) -> Advertisers:
        _, predicted = self.sample_rates()
        mean_pctr = predicted.ctr.mean(axis=0, dtype=np.float64)
        mean_pcvr = trimmed_mean_pcvr(predicted.cvr.T)
        listed = scenario.advertisers or _generate(scenario.generated, self, mean_pctr, mean_pcvr)
        return advertiser_arrays(listed, scenario.rules, mean_pctr, mean_pcvr)


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
            revenue[user] = (rates.ctr * rates.cvr) @ feed._ads.price
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
        words = -(-dims // 4)
        own = np.hstack([normals(seed, Stream.ITEMS, request=np.arange(count), ad=1 + w) for w in range(words)])[
            :, :dims
        ]
        shared = np.hstack([normals(seed, Stream.ITEMS, request=self.category, ad=1000 + w) for w in range(words)])[
            :, :dims
        ]
        mixed = math.sqrt(0.7) * shared + math.sqrt(0.3) * own
        self.interests = np.ascontiguousarray((mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).T, np.float32)
        self.ctr = (_logit(rates.ctr) + rates.ad_ctr_spread * traits[:, 0]).astype(np.float32)
        dearer = np.log(self.price) - np.log(self.price).mean()
        self.cvr = (_logit(rates.cvr) + rates.ad_cvr_spread * traits[:, 1] - rates.price_effect * dearer).astype(
            np.float32
        )


def _forecaster(config: FeedWorld, ads: int) -> NoisyTruth:
    prediction = config.prediction
    spread = prediction.ad_calibration_spread * normals(config.seed, Stream.CALIBRATION, request=np.arange(ads))
    return NoisyTruth(
        prediction.ctr_calibration * np.exp(spread[:, 0]),
        prediction.cvr_calibration * np.exp(spread[:, 1]),
        prediction.ctr_noise,
        prediction.cvr_noise,
    )


def _generate(
    wanted: GeneratedAdvertisers, feed: Feed, mean_pctr: NDArray[np.float64], mean_pcvr: NDArray[np.float64]
) -> tuple[Advertiser, ...]:
    requests = feed.config.traffic.requests
    spread = normals(feed.config.seed, Stream.ADVERTISERS, request=np.arange(wanted.count))
    advertisers = []
    for i in range(wanted.count):
        price, objective = float(feed._ads.price[i]), wanted.objectives[i % len(wanted.objectives)]
        affordable = wanted.margin * price
        base_bid = max(0.01, round(wanted.bid_level * affordable * float(mean_pcvr[i]), 4))
        everything = requests * float(mean_pctr[i]) * base_bid
        budget = max(0.01, round(wanted.budget_share * everything * math.exp(wanted.budget_spread * spread[i, 0]), 2))
        advertisers.append(
            Advertiser(
                name=f"adv_{i:02d}",
                objective=objective,
                budget=budget,
                base_bid=base_bid,
                category=int(feed._ads.category[i]),
                price=price,
                target_cpa=round(affordable, 2) if objective == "target_cpa" else None,
                target_roas=round(1 / wanted.margin, 3) if objective == "target_roas" else None,
                bid_form=wanted.bid_form,
            )
        )
    return tuple(advertisers)


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))


@njit(cache=True)
def _draw_visits(
    seed: Any, day: Any, first: Any, users: Any, buying_share: Any, accuracy: Any, user: Any, buying: Any, guess: Any
) -> None:
    for s in range(user.shape[0]):
        who, state, known, _ = unit4(seed, Stream.SESSION, day, first + s, 0)
        user[s] = int(who * users)
        buying[s] = state < buying_share
        guess[s] = buying[s] == (known < accuracy)


@njit(cache=True, nogil=True)
def _true_rates(
    user: Any, buying: Any, interests: Any, activity: Any, power: Any, ad_interests: Any, ad_ctr: Any, ad_cvr: Any,
    effects: Any, ctr: Any, cvr: Any,
) -> None:  # fmt: skip
    n_ads = ad_ctr.shape[0]
    match, odds, scale = np.empty(n_ads, np.float32), np.empty(n_ads, np.float32), np.empty(n_ads, np.float32)
    for b in range(user.shape[0]):
        u = user[b]
        for i in range(n_ads):
            match[i] = np.float32(0.0)
        for d in range(interests.shape[1]):
            for i in range(n_ads):
                match[i] += interests[u, d] * ad_interests[d, i]
        shift = activity[u] + effects[2] * buying[b]
        for i in range(n_ads):
            odds[i] = ad_ctr[i] + shift + effects[0] * match[i]
        _logistic(odds, scale, ctr[b])
        shift = power[u] + effects[3] * buying[b]
        for i in range(n_ads):
            odds[i] = ad_cvr[i] + shift + effects[1] * match[i]
        _logistic(odds, scale, cvr[b])


@njit(cache=True, nogil=True)
def _logistic(x: Any, scale: Any, out: Any) -> None:
    """``out = 1 / (1 + exp(-x))`` for float32 [n], in vector instructions and the same on every machine.

    exp(-x) = 2^k exp(r) with r within ln(2) / 2 of zero: exp(r) by its Taylor polynomial of degree 7 (error below 1e-7),
    2^k by writing the float's exponent. The mathematical library's exp is slower and differs by an ulp between machines.
    """
    one, bits = np.float32(1.0), scale.view(np.int32)
    for i in range(x.shape[0]):
        y = max(np.float32(-80.0), min(np.float32(80.0), -x[i]))
        k = np.floor(y * np.float32(1.44269504) + np.float32(0.5))
        r = (y - k * np.float32(0.693359375)) + k * np.float32(2.12194440e-4)
        p = np.float32(1.0 / 5040.0) * r + np.float32(1.0 / 720.0)
        p = p * r + np.float32(1.0 / 120.0)
        p = p * r + np.float32(1.0 / 24.0)
        p = p * r + np.float32(1.0 / 6.0)
        p = p * r + np.float32(0.5)
        x[i] = (p * r + one) * r + one
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
    for i in range(x.shape[0]):
        out[i] = one / (one + x[i] * scale[i])
