"""What the shipped journey says for a service: channels, triggers and actions, which no simulated day depends on."""

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.actions import checked_actions
from tribid.envs.channels.config import DEFAULT_CHANNELS
from tribid.envs.scenario import load_scenario
from tribid.envs.triggers import KINDS

JOURNEY = load_scenario("journey")
NONE = {"world__channels": (), "world__triggers": (), "world__actions": ()}


def day(scenario):
    """The last state and the ticks of a day."""
    state, ticks = market.reset(scenario, 6), []
    while not state.done:
        state, tick = market.step(state, np.ones(len(state.advertisers)))
        ticks.append(tick)
    return state, ticks


def test_the_shipped_journey_has_every_trigger_six_actions_and_the_channels_by_default():
    world = JOURNEY.world
    assert sorted(trigger.kind for trigger in world.triggers) == sorted(KINDS)
    assert world.channels == DEFAULT_CHANNELS
    actions = checked_actions(world.actions)
    assert sorted(action.kind for action in actions) == ["app", *["buy_in_category"] * 3, "join_club", "newsletter"]
    assert len({action.category for action in actions if action.category is not None}) == 3
    assert all(action.value > 0 for action in actions)
    assert len({action.eligibility for action in actions}) > 3


def test_a_simulated_day_is_the_same_to_the_micro_without_them(scenario):
    bare = scenario.with_changes(**NONE)
    assert bare.hash != scenario.hash and scenario.world.triggers and scenario.world.actions
    (one, ticks), (two, others) = day(scenario), day(bare)
    assert one.total.spend_micros.sum() > 0
    for tick, other in zip(ticks, others, strict=True):
        assert np.array_equal(tick.ledger.spend_micros, other.ledger.spend_micros)
        for name, counted, again in zip(
            type(tick.ledger.counts)._fields, tick.ledger.counts, other.ledger.counts, strict=True
        ):
            assert np.array_equal(counted, again), name
        assert np.array_equal(tick.slots.winner, other.slots.winner)
        assert np.array_equal(tick.slots.price_micros, other.slots.price_micros)
    assert np.array_equal(one.memory.marks, two.memory.marks)
    assert np.array_equal(one.memory.shown, two.memory.shown)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"world__triggers": [{"name": "a"}, {"name": "a", "kind": "back_in_stock"}]}, r"triggers are \['a', 'a'\]"),
        ({"world__actions": [{"name": "a"}, {"name": "a", "kind": "newsletter"}]}, "the name 'a' twice"),
        (
            {"world__actions": [{"name": "a", "kind": "buy_in_category", "category": 20}]},
            "action 'a': category is 20; allowed is 0 to 19",
        ),
        (
            {"world__actions": [{"name": str(k), "metadata": {f"c{k}": 1.0}} for k in range(11)]},
            "metadata has 11 columns over all actions; allowed are 10",
        ),
        ({"world__channels": [{"name": "email"}]}, "one of each in this order"),
    ],
)
def test_parts_that_no_service_could_use_are_refused_by_name(scenario, changes, said):
    with pytest.raises(ValueError, match=said):
        scenario.with_changes(**changes)
