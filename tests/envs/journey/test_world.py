"""The journey's day: scenes, candidates, caps, memory, and that everything that plays markets plays this one."""

from dataclasses import replace

import numpy as np
import pytest

from tribid.envs import feed_auction_v0, market
from tribid.envs.journey.memory import touches_of
from tribid.envs.places import NOBODY
from tribid.envs.scenario import load_scenario
from tribid.envs.stages import Event, stage_of
from tribid.envs.testing import check_market
from tribid.envs.world import build_world


def played(scenario, seed=3, day=0, bids=1.0, memory=None, ticks=None):
    """The ticks of a day and the states before and after each."""
    state = market.reset(scenario, seed, day, memory=memory)
    out = []
    while not state.done and (ticks is None or state.tick < ticks):
        after, tick = market.step(state, np.broadcast_to(bids, len(state.advertisers)))
        out.append((state, tick, after))
        state = after
    return out


@pytest.fixture(scope="module")
def day(scenario):
    return played(scenario)


def _logit(p):
    p = p.astype(np.float64)
    return np.log(p / (1 - p))


def test_the_journey_keeps_the_rules_of_every_market(scenario):
    check_market(lambda: feed_auction_v0.parallel_env(scenario=scenario))


def test_the_shipped_scenario_is_a_journey_with_all_six_scenes_and_other_scenarios_keep_their_names():
    assert [scene.name for scene in load_scenario("journey").world.scenes] == [
        "home", "guess", "search", "cart", "paid", "logistics",
    ]  # fmt: skip
    hashes = {name: load_scenario(name).hash for name in ("tiny", "feed", "auctionnet", "shop")}
    assert hashes == {
        "tiny": "af26ca826bb5dac7", "feed": "a88fd0ad572d1ef6", "auctionnet": "3b78e56d1c61cb78",
        "shop": "46e312562ac9ed8c",
    }  # fmt: skip


def test_every_scene_has_pages_and_only_those_that_are_open_to_the_user(scenario, day):
    world, seen = build_world(scenario), set()
    for before, tick, _ in day:
        requests, memory = tick.requests, before.memory
        hour = world.hour(requests.day, tick.number)
        for s, scene in enumerate(world.journey.scenes):
            user = requests.user[requests.scene == s]
            seen.add(scene.name) if len(user) else None
            if scene.needs == "order":
                assert (memory.bought[user] >= 0).all()
                assert (hour - memory.bought_hour[user] <= scene.within_hours).all()
            if scene.needs == "cart":
                assert (memory.cart[user] >= 0).all()
    assert seen == {"home", "guess", "search", "cart", "paid", "logistics"}


def test_users_without_orders_never_see_a_page_that_comes_after_one(scenario):
    quiet = scenario.with_changes(world__behaviour__kinds=(0.86, 0.06, 0.08, 0.0))
    for before, tick, _ in played(quiet, bids=0.0):
        assert (before.memory.bought == -1).all()
        assert not np.isin(tick.requests.scene, [4, 5]).any()


def test_complement_scenes_have_candidates_of_complementary_categories_alone(scenario, day):
    world, pages = build_world(scenario), 0
    for before, tick, _ in day:
        requests = tick.requests
        for row in np.flatnonzero(np.isin(requests.scene, [4, 5])):
            who = requests.candidates[row]
            bought = before.memory.bought[requests.user[row]]
            allowed = set(world.categories.pairs[bought].tolist()) - {-1}
            assert {int(c) for c in world.categories.category[who[who >= 0]]} <= allowed
            assert bought not in allowed
            pages += 1
    assert pages > 20


def test_the_comparison_shows_plain_candidates_on_the_same_pages(scenario, day):
    plain = played(scenario.with_changes(world__complements__retrieved=False), ticks=1)[0][1].requests
    first = day[0][1].requests
    assert np.array_equal(plain.request, first.request)
    assert np.array_equal(plain.scene, first.scene)
    world = build_world(scenario)
    after = np.isin(plain.scene, [4, 5])
    shelf = world.feed.candidates(plain.user)
    kept = plain.candidates != NOBODY
    assert (plain.candidates[kept & after[:, None]] == shelf[kept & after[:, None]]).all()
    assert not np.array_equal(plain.candidates[after], first.candidates[after])


def test_pages_settle_scene_by_scene_in_order_of_arrival_with_each_scenes_own_slots(scenario, day):
    world = build_world(scenario)
    for _, tick, _ in day:
        requests = tick.requests
        assert (np.diff(requests.scene) >= 0).all()
        for s, layout in enumerate(world.layouts):
            rows = requests.scene == s
            assert (np.diff(requests.request[rows]) > 0).all()
            assert (tick.slots.winner[rows, len(layout.slot_effects) :] == -1).all()
        assert sorted(requests.request.tolist()) == list(
            range(int(requests.request.min()), int(requests.request.max()) + 1)
        )


def test_a_visit_that_left_in_one_scene_is_gone_in_the_later_ones(scenario):
    restless = scenario.with_changes(world__users__leave_base=0.5)
    met = 0
    for _, tick, _ in played(restless, ticks=2):
        requests, slots = tick.requests, tick.slots
        gone = set()
        for row in range(len(requests.request)):
            assert slots.skipped[row] == (int(requests.session[row]) in gone)
            met += bool(slots.skipped[row] and requests.scene[row] > 0)
            if slots.left[row]:
                gone.add(int(requests.session[row]))
    assert met > 10


def test_budgets_are_hard_and_a_wholly_empty_page_is_sold_to_nobody(scenario):
    poor = scenario.with_changes(generated__budget_share=0.01)
    final = played(poor)[-1][2]
    assert (final.left_micros >= 0).all()
    assert (final.total.spend_micros <= final.advertisers.budget_micros).all()
    world = build_world(scenario)
    state = market.reset(scenario, 3)
    everybody = replace(state.memory, shown=np.full_like(state.memory.shown, 100))
    after, tick = market.step(replace(state, memory=everybody), np.ones(len(world.advertisers)))
    assert (tick.requests.candidates == NOBODY).all()
    assert (tick.slots.winner == -1).all()
    assert (after.left_micros == state.left_micros).all()
    for count in after.recent[0].counts:
        assert (count == 0).all()  # nobody's places are told to nobody


def test_no_user_sees_a_brand_oftener_than_the_cap_when_the_touch_log_is_replayed(scenario):
    for cap in (1, 3):
        capped = scenario.with_changes(world__fatigue__cap=cap, world__users__count=40)
        memory = None
        for number in range(2):
            final = played(capped, day=number, memory=memory)[-1][2]
            memory = final.memory
        seen = memory.touches.rows(memory.touches.event == Event.EXPOSURE)
        per_day = (seen.hour // 24).astype(int) * 10**6 + seen.user.astype(int) * 1000 + seen.brand
        counts = np.unique(per_day, return_counts=True)[1]
        assert counts.max() == cap
        assert memory.shown.max() <= cap
    free = scenario.with_changes(world__fatigue__cap=None, world__users__count=40)
    assert played(free)[-1][2].memory.shown.max() > 3


def test_true_rates_are_the_logistic_of_the_sum_of_the_shops_and_the_journeys_effects(scenario, day):
    world = build_world(scenario)
    before, tick, _ = day[4]
    requests, config = tick.requests, scenario.world
    visits = world.visits(before.day, 4)
    bare = requests._replace(scene=None, stage=None, shown=None, bought=None)
    plain = world.rates(before.day.seed, bare, visits.buying[requests.session].astype(np.float32))
    checked = np.zeros(4, int)
    for row in range(0, len(requests.request), 2):
        for column in np.flatnonzero(requests.candidates[row] >= 0):
            brand, user = requests.candidates[row, column], requests.user[row]
            scene = config.scenes[requests.scene[row]]
            stage = int(stage_of(before.memory.marks[user, brand]))
            ctr, cvr = scene.ctr + config.stages.ctr[stage], scene.cvr + config.stages.cvr[stage]
            ctr += config.fatigue.ctr * min(int(before.memory.shown[user, brand]), config.fatigue.most)
            recent = world.hour(0, 4) - before.memory.bought_hour[user] <= config.complements.hours
            bought, own = before.memory.bought[user], world.categories.category[brand]
            if recent and bought >= 0 and own in world.categories.pairs[bought]:
                ctr, cvr, checked[0] = ctr + config.complements.ctr, cvr + config.complements.cvr, checked[0] + 1
            if recent and bought == own:
                ctr, cvr = ctr + config.complements.own_ctr, cvr + config.complements.own_cvr
                checked[1] += 1
            checked[2] += stage > 1
            checked[3] += before.memory.shown[user, brand] > 0
            for rate, basis, effect in ((tick.truth.ctr, plain.ctr, ctr), (tick.truth.cvr, plain.cvr, cvr)):
                got = _logit(rate[row, column]) - _logit(basis[row, column])
                assert got == pytest.approx(effect, abs=2e-4)
    assert (checked > 3).all()


def test_a_hand_computed_rate():
    # An unaware user on the home page who just bought of a complementary category, third exposure today, odds 1 to 9:
    # 1/9 x exp(-0.25 + 2 x -0.25 + 1.5) = 1/9 x exp(0.75) = 0.23522, a rate of 0.23522 / 1.23522 = 0.19043.
    world = build_world(load_scenario("journey"))
    brand = 0
    other = next(c for c in range(20) if world.categories.goes_with[c, world.categories.category[brand]])
    one = np.zeros(1, np.int64)
    from tribid.envs.platform import Requests

    requests = Requests(
        0, 0, one, one, one, one, one, np.array([[brand]], np.int32), scene=np.zeros(1, np.int8),
        stage=np.zeros((1, 1), np.int8), shown=np.full((1, 1), 2, np.int16), bought=np.array([other], np.int32),
    )  # fmt: skip
    odds = (1 / 9) * np.exp(world.effects.of(requests, requests.candidates, 0)[0, 0])
    assert odds / (1 + odds) == pytest.approx(0.19043, abs=1e-5)


def test_one_advertisers_bid_changes_neither_who_comes_nor_what_is_drawn(scenario):
    bids = np.ones(40)
    bids[0] = 0.0
    one, other = played(scenario, ticks=3), played(scenario, bids=bids, ticks=3)
    for (_, a, _), (_, b, _) in zip(one, other, strict=True):
        left, right = np.argsort(a.requests.request), np.argsort(b.requests.request)
        for name in ("request", "user", "session", "segment"):
            assert np.array_equal(getattr(a.requests, name)[left], getattr(b.requests, name)[right])
        same = (a.requests.scene[left] == b.requests.scene[right]) & ~(a.slots.skipped[left] | b.slots.skipped[right])
        w, v = a.slots.winner[left], b.slots.winner[right]
        slots = (w == v) & (w >= 0) & same[:, None]
        assert slots.sum() > 100
        assert np.array_equal(a.slots.exposed[left][slots], b.slots.exposed[right][slots])
    first_a, first_b = one[0][1], other[0][1]  # before anything is remembered, equal ads have equal fates
    same = (first_a.slots.winner == first_b.slots.winner) & (first_a.slots.winner >= 0)
    both = ~(first_a.slots.skipped | first_b.slots.skipped)
    assert np.array_equal(first_a.requests.scene, first_b.requests.scene)
    assert np.array_equal(first_a.slots.clicked[same & both[:, None]], first_b.slots.clicked[same & both[:, None]])


def test_many_days_at_once_are_those_of_one_alone_on_any_number_of_threads(scenario):
    seeds, days = [3, 4, 5], [0, 0, 2]
    multipliers = np.random.default_rng(1).uniform(0.5, 2.0, (3, 40, 2))
    many = {threads: market.reset_many(scenario, seeds, days) for threads in (1, 3)}
    alone = [market.reset(scenario, seed, day) for seed, day in zip(seeds, days, strict=True)]
    for _ in range(3):
        many = {threads: market.step_many(state, multipliers, threads=threads) for threads, state in many.items()}
        alone = [market.step(state, multipliers[m])[0] for m, state in enumerate(alone)]
    for state in many.values():
        for m, one in enumerate(alone):
            assert np.array_equal(state.left_micros[m], one.left_micros)
            for mine, theirs in zip(state.total.counts, one.total.counts, strict=True):
                assert np.array_equal(mine[m], theirs)
            for name in ("marks", "shown", "bought", "bought_hour", "cart", "cart_hour"):
                assert np.array_equal(getattr(state.memory[m], name), getattr(one.memory, name))
            for mine, theirs in zip(state.memory[m].touches, one.memory.touches, strict=True):
                assert np.array_equal(mine, theirs)


def test_a_step_leaves_the_memory_before_it_as_it_was_and_nobody_can_write_into_one(scenario):
    state = market.reset(scenario, 3)
    kept = {name: getattr(state.memory, name).copy() for name in ("marks", "shown", "bought", "cart")}
    after, _ = market.step(state, np.ones(40))
    assert after.memory is not state.memory
    for name, before in kept.items():
        assert np.array_equal(getattr(state.memory, name), before)
    assert state.memory.touches.size == 0
    for array in (after.memory.marks, after.memory.shown, after.memory.bought, after.memory.chunks[0].user):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    again, _ = market.step(state, np.ones(40))
    assert np.array_equal(again.memory.marks, after.memory.marks)


def test_stages_never_fall_within_a_day_or_over_days(scenario):
    memory, stages = None, None
    for number in range(2):
        for before, _, after in played(scenario, day=number, memory=memory):
            stages = before.memory.stages if stages is None else stages
            assert (before.memory.stages >= stages).all()
            assert (after.memory.stages >= before.memory.stages).all()
            stages = after.memory.stages
        memory = after.memory
    assert (stages == 3).any()
    assert (stages == 4).any()


def test_the_touch_log_holds_what_the_pages_held_and_is_in_order_of_time(scenario, day):
    final = day[-1][2].memory.touches
    assert (np.diff(final.hour) >= 0).all()
    slots = [tick.slots for _, tick, _ in day]
    for event, column in ((Event.EXPOSURE, "exposed"), (Event.CLICK, "clicked"), (Event.ORDER, "converted")):
        assert (final.event == event).sum() == sum(getattr(slot, column).sum() for slot in slots)
    total = day[-1][2].total.counts
    assert np.array_equal(np.bincount(final.brand[final.event == Event.CLICK], minlength=40), total.clicks)
    assert set(final.channel.tolist()) == {0, 1}
    assert (final.hour >= 0).all()
    assert (final.hour < 24).all()


def test_a_memory_that_is_carried_into_the_next_day_is_the_one_worked_out_by_hand(scenario):
    world = build_world(scenario)
    evening = played(scenario)[-1][2].memory
    morning = market.reset(scenario, 3, 1, memory=evening).memory
    past = world.past.histories(3, 1, np.arange(200))
    expected = {pair: int(evening.marks[pair]) for pair in np.ndindex(evening.marks.shape)}
    seen, engaged, ordered, again = 1, 2, 4, 8
    for user in range(200):
        for k in range(past.length[user]):
            if past.age_days[user, k] >= 1.0 or (brand := world.categories.seller[past.item[user, k]]) < 0:
                continue
            pair = (user, int(brand))
            if past.kind[user, k] == 3:
                expected[pair] |= again if expected[pair] & ordered else ordered
            else:
                expected[pair] |= engaged
    differs = [pair for pair in expected if expected[pair] != int(morning.marks[pair])]
    for pair in differs:  # who looked through a category has seen its brands; nothing else may differ
        assert int(morning.marks[pair]) == expected[pair] | seen
    assert (morning.shown == 0).all()
    assert morning.touches.size == evening.touches.size > 0
    for user in range(200):
        own = [
            (24 * (1 - float(past.age_days[user, k])), int(past.category[user, k]))
            for k in range(past.length[user]) if past.kind[user, k] == 3 and past.age_days[user, k] < 1.0
        ]  # fmt: skip
        last = max([*own, (float(evening.bought_hour[user]), int(evening.bought[user]))])
        assert (float(morning.bought_hour[user]), int(morning.bought[user])) == pytest.approx(last)
    fresh = market.reset(scenario, 3, 1).memory
    assert fresh.touches.size == 0
    assert not np.array_equal(fresh.marks, morning.marks)


@pytest.mark.parametrize(("seed", "day"), [(3, 2), (4, 1), (3, 0)])
def test_a_memory_of_another_seed_or_day_is_refused(scenario, seed, day):
    evening = played(scenario, ticks=1)[-1][2].memory
    with pytest.raises(ValueError, match=r"memory is of seed 3, day 0 .*; allowed is seed"):
        market.reset(scenario, seed, day, memory=evening)


def test_a_memory_is_refused_where_nobody_is_remembered(scenario):
    evening = played(scenario, ticks=1)[-1][2].memory
    with pytest.raises(ValueError, match="of kind feed and has none"):
        market.reset(load_scenario("tiny"), 3, 1, memory=evening)
    with pytest.raises(ValueError, match="memory is a dict"):
        market.reset(scenario, 3, 1, memory={})
    assert market.reset(load_scenario("tiny"), 3).memory is None


def test_expected_values_are_settled_while_users_remember_the_draws_of_the_sampled_mode(scenario):
    expected = scenario.with_changes(rules__outcomes="expected", world__users__leave_base=0.0)
    sampled = scenario.with_changes(world__users__leave_base=0.0)
    state, other = market.reset(expected, 3), market.reset(sampled, 3)
    rich = np.full(40, 10**12)
    state, other = replace(state, left_micros=rich), replace(other, left_micros=rich)
    for _ in range(3):
        state, tick = market.step(state, np.ones(40))
        other, drawn = market.step(other, np.ones(40))
        assert ((tick.slots.clicked > 0) & (tick.slots.clicked < 1)).any()
        assert np.array_equal(tick.slots.winner, drawn.slots.winner)
        assert np.array_equal(state.memory.marks, other.memory.marks)
        assert np.array_equal(state.memory.shown, other.memory.shown)


def test_predictions_that_do_not_know_the_journey_differ_only_where_they_should(scenario, day):
    _, tick, _ = day[3]
    quiet = {"world__prediction__ctr_noise": 0.0, "world__prediction__cvr_noise": 0.0}
    exact = scenario.with_changes(
        **quiet, world__prediction__ad_calibration_spread=0.0, world__prediction__knows_state=True
    )
    for part, where in (
        ("fatigue", tick.requests.shown > 0),
        ("complements", build_world(scenario).effects.of(
            tick.requests._replace(scene=None, stage=None, shown=None), tick.requests.candidates, 0) != 0),
    ):  # fmt: skip
        blind = build_world(exact.with_changes(**{f"world__{part}__known": False}))
        predicted = blind.forecaster.predict(3, tick.requests, tick.truth)
        apart = np.abs(_logit(predicted.ctr) - _logit(tick.truth.ctr)) > 1e-3
        assert np.array_equal(apart, where)
    blind = build_world(exact.with_changes(world__stages__known=False))
    predicted = blind.forecaster.predict(3, tick.requests, tick.truth)
    shift = _logit(predicted.ctr) - _logit(tick.truth.ctr)
    for stage in range(4):
        own = shift[tick.requests.stage == stage]
        assert np.ptp(own) < 1e-3
    knowing = build_world(exact).forecaster.predict(3, tick.requests, tick.truth)
    assert np.array_equal(knowing.ctr, tick.truth.ctr)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"world__scenes": [{"name": "cart", "needs": "cart"}]}, "at least one scene that needs nothing"),
        ({"world__scenes": [{"name": "a"}, {"name": "a"}]}, "each name once"),
        ({"world__scenes": [{"name": "a", "candidates": "complement"}]}, "allowed is 'order' with candidates"),
        ({"world__scenes": [{"name": "a", "slot_effects": (1.0, 0.9, 0.8, 0.7)}]}, "at most the 3"),
        ({"world__complements__pairs": ((1,), (0,))}, "one for each of 20 categories"),
        ({"world__complements__pairs": tuple((k,) for k in range(20))}, "allowed are other categories"),
        ({"world__fatigue__cap": 0}, "fatigue.cap"),
    ],
)  # fmt: skip
def test_a_scenario_that_makes_no_sense_says_why(scenario, changes, said):
    with pytest.raises(ValueError, match=said):
        scenario.with_changes(**changes)


def test_touches_broadcast_to_columns():
    touches = touches_of([1, 2], 3, 0.5, 0, Event.CLICK)
    assert touches.brand.tolist() == [3, 3]
    assert touches.request.tolist() == [-1, -1]
