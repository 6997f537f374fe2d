import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.envs.attribution.test_paths import logs, orders, touches
from tribid.envs import market
from tribid.envs.attribution.accounting import attributed, cpa_account
from tribid.envs.attribution.config import Attribution
from tribid.envs.attribution.credit import METHODS, OF_ALL_PATHS
from tribid.envs.attribution.reward import Log, attributed_own, attributed_reward, log_of_journey, rewarded_log
from tribid.envs.journey.memory import Memory, touches_of
from tribid.envs.market import Ledger, MarketState, reset, step
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import Reward, load_scenario
from tribid.envs.settlement import new_counts
from tribid.envs.stages import Event


@settings(deadline=None, max_examples=80)
@given(logs(), st.sampled_from(sorted(METHODS)))
def test_credit_by_brand_and_channel_and_direct_orders_sum_to_each_brands_orders(log, method):
    met, bought, lookback = log
    told = attributed(met, bought, brands=3, channels=3, method=method, lookback_hours=lookback)
    count = np.bincount(bought.brand, minlength=3)
    value = np.bincount(bought.brand, bought.value, minlength=3)
    np.testing.assert_allclose(told.conversions.sum(axis=1) + told.direct, count, atol=1e-9)
    np.testing.assert_allclose(told.value.sum(axis=1) + told.direct_value, value, atol=1e-9)


def test_orders_of_days_before_are_not_counted_but_have_used_their_touches_up():
    log = touches((1, 0, 1, 0), (1, 0, 30, 1))
    told = attributed(log, orders((1, 0, 5), (1, 0, 31), (1, 0, 32)), brands=1, channels=2, since_hours=24.0)
    assert told.conversions.tolist() == [[0.0, 1.0]] and told.value.tolist() == [[0.0, 20.0]]
    assert told.direct.tolist() == [1.0] and told.direct_value.tolist() == [30.0]


def test_the_rule_decides_what_is_left_for_the_channel_that_a_brand_pays_for():
    log, bought = touches((1, 0, 1, 0), (1, 0, 2, 1)), orders((1, 0, 3))
    paid = {
        method: float(attributed(log, bought, brands=1, channels=2, method=method).paid([0])[0][0])
        for method in ("first", "last", "linear")
    }
    assert paid == {"first": 1.0, "last": 0.0, "linear": 0.5}


def test_a_brand_or_channel_beyond_the_table_is_refused():
    with pytest.raises(ValueError, match="channel of a touch is 1; allowed is 0 to 0"):
        attributed(touches((1, 0, 1, 1)), orders(), brands=1, channels=1)
    with pytest.raises(ValueError, match="brand of an order is 4; allowed is 0 to 1"):
        attributed(touches((1, 0, 1, 0)), orders((1, 4, 2)), brands=2, channels=1)


def test_cpa_is_spend_over_credited_conversions_and_violated_above_the_target():
    state = reset(load_scenario("tiny"), seed=1)
    target = np.array([100, 100, 100, 0, 100])
    a = dataclasses.replace(state.advertisers, target_cpa_micros=target)
    account = cpa_account(a, np.array([150, 250, 70, 90, 0]), np.array([1.5, 2.0, 0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(account.cpa_micros, [100.0, 125.0, np.nan, 90.0, np.nan])
    np.testing.assert_array_equal(account.ratio, [1.0, 1.25, np.inf, np.nan, 0.0])
    assert account.violated.tolist() == [False, True, True, False, False]


@pytest.fixture(scope="module")
def day() -> list[MarketState]:
    """The states of a day in which clicks, conversions and spend came as chance had it."""
    states, rng = [reset(load_scenario("tiny"), seed=5)], np.random.default_rng(5)
    for _ in range(6):
        clicks = rng.integers(0, 9, 5)
        happened = new_counts(5)._replace(
            clicks=clicks.astype(float), conversions=rng.binomial(clicks, 0.3).astype(float)
        )
        spent = Ledger(happened, clicks * 40_000)
        states.append(dataclasses.replace(states[-1], tick=states[-1].tick + 1, total=states[-1].total + spent))
    return states


def _of_ledger(state: MarketState) -> Log:
    """A log in which every conversion that the market counted is a click of its own user and an order right after it."""
    brand = np.repeat(np.arange(5), state.total.counts.conversions.astype(np.int64))
    user = np.arange(len(brand))
    rows = [(int(u), int(b), 1.0, 0) for u, b in zip(user, brand, strict=True)]
    paid = [(int(u), int(b), 1.0) for u, b in zip(user, brand, strict=True)]
    return Log(touches(*rows) if rows else NO_TOUCHES, orders(*paid), 0.0)


NO_TOUCHES = touches((0, 0, 0, 0)).where(np.zeros(1, bool))


@pytest.mark.parametrize("method", ["last", "linear", "shapley"])
def test_where_every_order_follows_one_click_the_reward_is_the_plain_one_under_any_rule(day, method):
    part = attributed_reward(_of_ledger, channels=1, method=method)
    assert day[-1].total.counts.conversions.sum() > 0
    for before, after in pairwise(day):
        np.testing.assert_allclose(
            part(before, after, Reward()), REWARDS["own"](before, after, Reward()), rtol=0, atol=1e-12
        )


def test_credit_that_goes_to_a_channel_not_paid_for_is_no_reward_and_a_days_rewards_sum_to_its_score(day):
    part = attributed_reward(_of_ledger, channels=2, paid=[1])
    whole = attributed_reward(_of_ledger, channels=2, paid=[0])
    clicks_only = [part(b, a, Reward()) for b, a in pairwise(day)]
    worth = day[0].advertisers.click_worth * day[-1].total.counts.clicks / day[0].advertisers.budget_micros
    by_conversion = day[0].advertisers.conversion_worth > 0
    assert (np.sum(clicks_only, axis=0)[by_conversion] == 0).all() and (worth[by_conversion] == 0).all()
    total = np.sum([whole(b, a, Reward()) for b, a in pairwise(day)], axis=0)
    np.testing.assert_allclose(total, whole(day[0], day[-1], Reward()), atol=1e-12)
    assert total[by_conversion].max() > 0


def remembering(state, *chunks):
    """The state with a journey's memory of nine users, to whom this happened."""
    nothing, none = np.zeros(9, np.int32), np.zeros((5, 4), np.int64)
    memory = Memory(
        seed=1, day=state.day.day, marks=np.zeros((9, 5), np.uint8), shown=np.zeros((9, 5), np.int16), bought=nothing,
        bought_hour=nothing * 1.0, cart=nothing, cart_hour=nothing * 1.0, cart_brand=nothing, written=nothing * 1,
        messages=none, booked_micros=none, chunks=chunks,
    )  # fmt: skip
    return dataclasses.replace(state, memory=memory)


def test_a_journeys_log_counts_an_ad_clicked_at_once_as_its_click_and_an_order_at_its_brands_price():
    happened = touches_of(
        [4, 4, 4, 4, 4], [1, 1, 1, 1, 1], [20.0, 25.0, 25.0, 25.0, 25.0], [1, 0, 0, 0, 0],
        [Event.EXPOSURE, Event.EXPOSURE, Event.CLICK, Event.CART, Event.ORDER],
    )  # fmt: skip
    state = remembering(reset(load_scenario("tiny"), seed=1, day=1), happened)
    log = log_of_journey(state)
    assert log.touches.event.tolist() == [Event.EXPOSURE, Event.CLICK] and log.since_hours == 24.0
    told = attributed(*log[:2], brands=5, channels=4, since_hours=log.since_hours)
    assert told.conversions[1].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert told.value[1].sum() == state.advertisers.price_micros[1]


def test_the_part_of_a_journey_pays_for_the_credit_of_the_channels_that_the_scenario_says():
    """One order, half of it the feed's; what is paid for half of it is what half of a conversion is worth."""
    happened = touches_of([4, 4, 4], [1, 1, 1], [5.0, 6.0, 6.0], [2, 0, 0], [Event.CLICK, Event.CLICK, Event.ORDER])
    state = reset(load_scenario("tiny"), seed=1)
    before, after = remembering(state), remembering(state, happened)
    worth = state.advertisers.conversion_worth[1] / state.advertisers.budget_micros[1]
    assert worth > 0
    for attribution, credited in (
        (None, 0.5), (Attribution(method="last"), 1.0), (Attribution(method="first"), 0.0),
        (Attribution(paid=(0, 2)), 1.0), (Attribution(lookback_hours=0.5), 1.0),
    ):  # fmt: skip
        rule = Reward().model_copy(update={"attribution": attribution})
        paid = attributed_own(before, after, rule)
        np.testing.assert_allclose(paid, np.eye(5)[1] * credited * worth, atol=1e-15)


def test_a_scenario_can_name_every_rule_of_credit_and_no_other():
    for method in METHODS:
        assert Attribution(method=method).method == method
    with pytest.raises(ValueError, match="method"):
        Attribution(method="median")
    with pytest.raises(ValueError, match="each channel once"):
        Attribution(paid=(0, 0))


def test_channels_that_are_paid_can_be_named_and_the_scenario_is_the_same_one():
    def paying(paid):
        return load_scenario("journey").with_changes(reward={"part": "attributed", "attribution": {"paid": paid}})

    assert paying(["search", "feed"]).reward.attribution.paid == (1, 0)
    assert paying(["feed", "search"]).hash == paying([0, 1]).hash == paying(["feed", 1]).hash != paying([1]).hash
    with pytest.raises(
        ValueError, match="paid holds 'mail'; allowed are feed, search, email, display, or their places"
    ):
        paying(["mail"])
    with pytest.raises(ValueError, match="each channel once"):
        paying(["feed", 0])
    with pytest.raises(ValueError, match="paid"):
        paying("feed")


@pytest.mark.parametrize("method", [name for name in METHODS if name not in OF_ALL_PATHS])
def test_what_is_left_out_of_the_rewarded_log_is_credited_with_none_of_the_days_orders(method):
    """A random log of forty days, rewarded on the last of them with and without what the day's orders cannot owe."""
    draw, count = np.random.default_rng(5), 4000
    kinds = [Event.EXPOSURE, Event.CLICK, Event.CART, Event.ORDER]
    happened = touches_of(
        draw.integers(0, 9, count), draw.integers(0, 5, count), np.sort(draw.uniform(0.0, 960.0, count)),
        draw.integers(0, 4, count), draw.choice(kinds, count, p=[0.6, 0.3, 0.05, 0.05]),
    )  # fmt: skip
    state = remembering(reset(load_scenario("tiny"), seed=1, day=39), happened)
    whole, part = log_of_journey(state), rewarded_log(state, 100.0)
    assert 0 < len(part.orders) < len(whole.orders) and 0 < len(part.touches) < len(whole.touches) / 3
    told = [
        attributed(*log[:2], brands=5, channels=4, method=method, lookback_hours=100.0, since_hours=log.since_hours)
        for log in (whole, part)
    ]
    for column, same in zip(*told, strict=True):
        np.testing.assert_allclose(column, same, atol=1e-12)
    assert told[0].conversions.sum() > 3.0


def test_touches_that_are_known_late_are_in_their_place_in_the_log():
    state, early = reset(load_scenario("tiny"), seed=1), touches_of([3, 4], [1, 1], [2.0, 8.0], 0, Event.CLICK)
    late = touches_of([5, 6], [1, 1], [1.0, 5.0], 2, Event.EXPOSURE)
    memory = remembering(state, early, late).memory
    assert memory.touches.hour.tolist() == [1.0, 2.0, 5.0, 8.0] and memory.touches.user.tolist() == [5, 3, 6, 4]
    assert memory.since(2.0).user.tolist() == [3, 6, 4] and memory.since(9.0).size == 0


@pytest.mark.slow  # compiles the journey's kernels
def test_a_journeys_orders_are_credited_in_full_and_rewarded_by_channel():
    """A day of a small journey; what the memory holds is what is credited, and all channels together make the score."""
    state = reset(
        load_scenario("journey").with_changes(
            world__traffic__requests=600, world__traffic__ticks=4, world__users__count=80, world__rates__cvr=0.4,
            world__rates__ctr=0.3, world__retrieval__candidates=6, world__retrieval__cells=2, generated__count=8,
        ),
        seed=3,
    )  # fmt: skip
    states = [state]
    while not states[-1].done:
        states.append(step(states[-1], np.ones(8))[0])
    log = log_of_journey(states[-1])
    assert len(log.orders) > 20
    last, linear = (attributed(*log[:2], brands=8, channels=4, method=name) for name in ("last", "linear"))
    for told in (last, linear):
        credited = told.conversions.sum(axis=1) + told.direct
        np.testing.assert_allclose(credited, np.bincount(log.orders.brand, minlength=8), atol=1e-9)
    np.testing.assert_allclose(credited, states[-1].total.counts.conversions, atol=1e-9)
    assert np.abs(last.conversions - linear.conversions).max() > 0.1
    part = attributed_reward(log_of_journey, channels=4)
    total = np.sum([part(b, a, Reward()) for b, a in pairwise(states)], axis=0)
    own = np.sum([REWARDS["own"](b, a, Reward()) for b, a in pairwise(states)], axis=0)
    np.testing.assert_allclose(total, own, atol=1e-9)  # no order is direct: all channels together are all there is


def test_a_market_without_a_memory_has_no_log_to_credit():
    with pytest.raises(ValueError, match="a state of kind feed holds no log of touches"):
        log_of_journey(reset(load_scenario("tiny"), seed=1))


def test_a_rule_of_credit_is_refused_where_no_reward_reads_it():
    journey = load_scenario("journey")
    with pytest.raises(
        ValueError, match=r"reward\.attribution was given with reward\.part 'own'; allowed is 'attributed'"
    ):
        journey.with_changes(reward__attribution={"method": "last"})
    changed = journey.with_changes(reward__part="attributed", reward__attribution={"method": "last"})
    assert changed.reward.attribution.method == "last"


def test_the_reward_of_many_days_is_what_each_earns_alone() -> None:
    scenario = load_scenario("journey").with_changes(
        world__traffic__requests=600, world__traffic__ticks=3, world__users__count=100, world__catalogue__items=200,
        reward__part="attributed",
    )  # fmt: skip
    many, alone = market.reset_many(scenario, [1, 2], [0, 0]), [market.reset(scenario, seed, 0) for seed in (1, 2)]
    ones = np.ones(many.multipliers.shape)
    part = REWARDS["attributed"]
    for _ in range(3):
        after = market.step_many(many, ones)
        each = [market.step(one, ones[0])[0] for one in alone]
        wanted = [part(*pair, scenario.reward) for pair in zip(alone, each, strict=True)]
        np.testing.assert_array_equal(part(many, after, scenario.reward), np.stack(wanted))
        many, alone = after, each
    assert many.total.counts.conversions.sum() > 0
