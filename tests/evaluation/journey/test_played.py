"""Runs of a journey's variants: common random numbers, frozen advertisers, and numbers that are the market's own."""

import numpy as np
import pytest

from tribid.agents.rivals import rivals_in_turn
from tribid.envs import market
from tribid.envs.channels.channel import EMAIL
from tribid.envs.channels.config import DEFAULT_CHANNELS
from tribid.envs.journey.memory import NOTHING
from tribid.envs.journey.messages import answered
from tribid.envs.scenario import load_scenario
from tribid.envs.stages import Event
from tribid.envs.world import build_world
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.day import play_day
from tribid.evaluation.journey import played
from tribid.evaluation.journey.answers import answers_of
from tribid.evaluation.journey.measures import NAMES, PLACE
from tribid.evaluation.journey.played import play_run, scenario_of
from tribid.evaluation.journey.untargeted import Untargeted
from tribid.evaluation.journey.variants import VARIANTS, JourneyVariant, stage_messages, variant, with_messages
from tribid.evaluation.platform.worth import SIDES, numbers

SHIPPED = variant("shipped")


def rows(scenario, one, seeds=3, days=1, **settings):
    return np.array([play_run(scenario, one, HELD_OUT + k, days, **settings).all_pages for k in range(seeds)])


def test_without_messages_the_numbers_are_those_of_the_platforms_worth(scenario):
    own = scenario_of(scenario, SHIPPED)
    told = numbers(play_day(own, rivals_in_turn(("truthful",), own), HELD_OUT))
    assert play_run(scenario, SHIPPED, HELD_OUT, 1).all_pages[: len(SIDES)] == pytest.approx(told, rel=1e-9)


@pytest.mark.parametrize("name", ["shipped", "stage messages", "triggered", "by stage"])
def test_a_variant_played_twice_differs_by_exactly_nothing(scenario, name):
    one = play_run(scenario, variant(name), HELD_OUT, 2)
    two = play_run(scenario, variant(name), HELD_OUT, 2)
    np.testing.assert_array_equal(one.all_pages, two.all_pages)
    np.testing.assert_array_equal(one.sent, two.sent)


def test_channels_and_triggers_alone_change_nothing(scenario):
    bare = scenario.with_changes(world__channels=[], world__triggers=[])
    filled = with_messages(bare)
    assert len(filled.world.channels) == 4
    assert {trigger.kind for trigger in filled.world.triggers} == {"cart_abandoned", "complementary"}
    assert with_messages(scenario) is scenario
    told = [numbers(play_day(one, rivals_in_turn(("truthful",), one), HELD_OUT)) for one in (bare, filled, scenario)]
    assert told[0] == told[1] == told[2]


def test_advertisers_keep_their_bids_and_budgets_whatever_a_variant_changes(scenario):
    kept = build_world(scenario_of(scenario, SHIPPED)).advertisers
    for one in VARIANTS:
        if not one.base:
            own = build_world(scenario_of(scenario, one)).advertisers
            assert own.budget_micros.tolist() == kept.budget_micros.tolist()
            assert own.bid_per_click.tolist() == kept.bid_per_click.tolist()


def test_strong_complements_gain_clicks_after_an_order_and_useless_ones_lose_them(scenario):
    def gain(effect):
        changed = {"world__complements__ctr": effect, "world__complements__cvr": 0.0}
        fitting = JourneyVariant(name="x", changes=changed)
        plain = JourneyVariant(name="y", changes=changed | {"world__complements__retrieved": False})
        both = [[play_run(scenario, one, HELD_OUT + k, 1).after for k in range(3)] for one in (fitting, plain)]
        return np.diff(np.array(both)[:, :, PLACE["CTR"]], axis=0).ravel()

    assert (gain(3.0) < 0).all()
    assert (gain(-2.0) > 0).all()


def test_fatigue_that_nobody_feels_makes_the_cap_a_loss_of_exposures_only(scenario):
    tired = {"world__fatigue__ctr": 0.0, "world__fatigue__cvr": 0.0}
    capped = JourneyVariant(name="capped", changes=tired | {"world__fatigue__cap": 1})
    free = JourneyVariant(name="free", changes=tired | {"world__fatigue__cap": None})
    difference = rows(scenario, capped) - rows(scenario, free)
    assert (difference[:, PLACE["relevance"]] < 0).all()
    assert (difference[:, PLACE["RPM"]] < 0).all()


def test_messages_cost_what_was_sent_and_their_orders_count(scenario):
    scenario = scenario.with_changes(world__contents__cost=(0.004, 0.004, 0.004))
    told = play_run(scenario, variant("stage messages"), HELD_OUT, 2)
    bare = play_run(scenario, SHIPPED, HELD_OUT, 2)
    sent = told.sent.sum(axis=(0, 1))
    assert sent[:2].tolist() == [0, 0]
    unit = [0.0, 0.0, 0.006, 0.0055]  # a mail, a banner, and the content of either
    assert told.sent.shape == (2, 6, 4)
    assert told.all_pages[PLACE["own cost"]] * 2 == pytest.approx(float(sent @ np.array(unit)))
    assert told.all_pages[PLACE["messages"]] * 2 == sent.sum()
    assert told.all_pages[PLACE["orders"]] > bare.all_pages[PLACE["orders"]]
    assert told.all_pages[PLACE["unsubscribed"]] > 0
    assert bare.all_pages[PLACE["unsubscribed"]] == bare.all_pages[PLACE["messages"]] == 0


def test_each_message_that_is_opened_is_answered_once_also_in_the_last_tick(scenario, monkeypatch):
    own = scenario_of(scenario, variant("stage messages"))
    world, opened = build_world(own), []

    def counting(state, memory, day, tick, *, by_hour=None):
        due = memory.outbox.due(world.hour(day.day, tick) if by_hour is None else by_hour)[1]
        opened.append(len(due.open_hour))
        return answers_of(state, memory, day, tick, by_hour=by_hour)

    monkeypatch.setattr(played, "answers_of", counting)
    one = played._Day(market.reset(own, HELD_OUT, platform=stage_messages(world, None)))
    log = one.play(rivals_in_turn(("truthful",), own), is_last=False).touches
    exposures = log.rows((log.event == Event.EXPOSURE) & (log.request == NOTHING))
    assert sum(opened) == exposures.size and opened[-1] == (exposures.hour >= 20.0).sum() > 5


def test_expected_answers_are_the_mean_of_what_the_market_draws(scenario):
    own = scenario_of(scenario, variant("stage messages"))
    world = build_world(own)
    drawn, expected = np.zeros(2), np.zeros(2)
    for seed in range(6):
        state = market.reset(own, seed, platform=stage_messages(world, None))
        while not state.done:
            told = answers_of(state, state.memory, state.day, state.tick)
            expected += told.clicks.sum(), told.left
            hour = world.hour(0, state.tick)
            before = state.memory
            after = answered(state.world, before, state.day, state.tick, hour)
            clicks = (after.touches.event == Event.CLICK).sum() - (before.touches.event == Event.CLICK).sum()
            drawn += clicks, after.outbox.gone.sum() - before.outbox.gone.sum()
            state, _ = market.step(state, np.ones(len(state.advertisers)))
    assert expected[0] > 20
    assert abs(drawn[0] - expected[0]) < 4.0 * expected[0] ** 0.5
    assert abs(drawn[1] - expected[1]) < 4.0 * max(expected[1], 1.0) ** 0.5


def test_as_many_messages_go_to_anybody_at_the_same_hours_and_only_to_the_lists(scenario):
    counts = play_run(scenario, variant("triggered"), HELD_OUT, 1).sent
    world = build_world(scenario)
    memory = world.opening(world.day(HELD_OUT, 0))
    outreach = Untargeted(counts, world.journey.channels)
    for tick in range(world.n_ticks):
        sent = outreach.send(HELD_OUT, 0, tick, memory)
        assert np.bincount(sent.channel, minlength=4).tolist() == counts[0, tick].tolist()
        assert len(set(sent.user.tolist())) == len(sent.user)
    assert counts[..., EMAIL].sum() > 0
    with pytest.raises(ValueError, match="counts have shape"):
        Untargeted(counts[0], DEFAULT_CHANNELS)


def test_linear_credit_moves_brands_cpa_on_the_same_days(scenario):
    linear, last = (play_run(scenario, variant(f"{name} credit"), HELD_OUT, 2) for name in ("linear", "last-touch"))
    assert linear.all_pages[PLACE["CPA moved"]] > 0
    assert last.all_pages[PLACE["CPA moved"]] == 0
    assert linear.sent.tolist() == last.sent.tolist()
    assert {name for name, value in zip(NAMES, linear.all_pages, strict=True) if np.isfinite(value)} == {
        "ROI", "over target", "CPA moved",
    }  # fmt: skip


def test_scenarios_without_a_memory_and_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="allowed is a journey"):
        play_run(load_scenario("feed").with_changes(world__traffic__requests=100), SHIPPED, HELD_OUT, 1)
    with pytest.raises(ValueError, match="no variant named"):
        variant("nothing")
