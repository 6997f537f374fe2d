"""Contents and messages outside the auction: what they move, what they cost, and that one cap holds for all."""

from dataclasses import replace

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL
from tribid.envs.channels.config import DEFAULT_CHANNELS, Caps
from tribid.envs.channels.outreach import StageTargeted
from tribid.envs.channels.sends import Sends
from tribid.envs.journey.memory import NOTHING
from tribid.envs.platform import Platform
from tribid.envs.scenario import MICROS, load_scenario
from tribid.envs.stages import Event


@pytest.fixture(scope="module")
def channels(scenario):
    listed = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    listed[EMAIL] |= {"paid_from": "own", "own_budget": 1000.0}
    return scenario.with_changes(world__channels=listed)


class Everybody:
    """Writes to the first users for brand 0 by e-mail in the first tick, so often."""

    def __init__(self, users, times=1, channel=EMAIL, content=-1):
        self.users, self.times, self.channel, self.content = users, times, channel, content

    def send(self, seed, day, tick, memory):
        count = self.users * self.times if tick == 0 else 0
        nothing = np.zeros(count, np.int64)
        return Sends(np.arange(count) % self.users, nothing, nothing + self.channel, nothing + self.content)


def played(scenario, platform, seed=3):
    state = market.reset(scenario, seed, platform=platform)
    while not state.done:
        state, _ = market.step(state, np.ones(len(state.advertisers)))
    return state


def test_messages_are_opened_clicked_paid_and_logged_outside_the_auction(channels):
    state = played(channels, Platform(outreach=Everybody(200)))
    memory, log = state.memory, state.memory.touches
    ours = (log.channel == EMAIL) & (log.request == NOTHING)
    opened = log.rows(ours & (log.event == Event.EXPOSURE))
    assert 10 < opened.size < 200
    assert (np.bincount(opened.user) <= 1).all()
    assert (opened.hour > 0).all()
    clicked = log.rows(ours & (log.event == Event.CLICK))
    assert 0 < clicked.size < opened.size
    assert (memory.marks[opened.user, 0] > 0).all()
    cost = round(channels.world.channels[EMAIL].cost * MICROS)
    assert memory.booked_micros[0, EMAIL] == 200 * cost
    assert memory.booked_micros[1:].sum() == 0
    assert state.total.spend_micros.sum() == state.advertisers.budget_micros.sum() - state.left_micros.sum()


@pytest.mark.parametrize("payer", ["advertiser", "own"])
def test_a_budget_is_touched_only_where_the_channel_says_so_and_never_overspent(channels, payer):
    listed = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    listed[EMAIL] |= {"paid_from": payer, "cost": 1.0, "own_budget": 50.0 if payer == "own" else 0.0}
    paying = channels.with_changes(world__channels=listed)
    state = market.reset(paying, 3, platform=Platform(outreach=Everybody(200)))
    poor = np.full(40, 30 * MICROS)
    after, tick = market.step(replace(state, left_micros=poor), np.zeros(40))
    booked, spent = after.memory.booked_micros[0, EMAIL], after.recent[0].spend_micros[0]
    assert (booked, spent) == ((30 * MICROS, 30 * MICROS) if payer == "advertiser" else (50 * MICROS, 0))
    assert (after.left_micros >= 0).all()
    assert tick.revenue_micros == 0


def test_one_cap_holds_over_messages_and_pages(channels):
    capped = channels.with_changes(world__fatigue__cap=2, world__users__count=40)
    state = played(capped, Platform(outreach=Everybody(40, times=5)))
    assert state.memory.shown.max() == 2
    log = state.memory.touches
    seen = log.rows((log.event == Event.EXPOSURE) & (log.brand == 0))
    assert not ((log.channel[log.brand == 0] != EMAIL) & (log.event[log.brand == 0] == Event.EXPOSURE)).any()
    assert np.bincount(seen.user).max() <= 2
    assert state.memory.booked_micros[0, EMAIL] == 80 * round(capped.world.channels[EMAIL].cost * MICROS)


def test_a_rule_over_the_profile_is_played_and_gives_the_same_day_twice(channels):
    def day():
        rule = StageTargeted(channels.world.channels, 6, caps=Caps(per_day=5))
        return played(channels, Platform(outreach=rule)).memory

    one, two = day(), day()
    assert {EMAIL, DISPLAY} <= set(one.touches.channel.tolist())
    for mine, theirs in zip(one.touches, two.touches, strict=True):
        assert np.array_equal(mine, theirs)
    assert one.booked_micros.shape == (40, len(CHANNELS))


@pytest.mark.parametrize(
    ("outreach", "said"),
    [
        (Everybody(201), "user of a message is 0 to 200; allowed is 0 to 199"),
        (Everybody(5, channel=0), "channels of messages are"),
    ],
)
def test_messages_that_cannot_be_sent_are_refused(channels, outreach, said):
    with pytest.raises(ValueError, match=said):
        played(channels, Platform(outreach=outreach))


def test_messages_need_channels_and_a_world_that_remembers(scenario):
    with pytest.raises(ValueError, match=r"no world\.channels"):
        market.reset(scenario.with_changes(world__channels=()), 3, platform=Platform(outreach=Everybody(1)))
    with pytest.raises(ValueError, match=r"platform\.outreach was given; allowed is none in a world of kind shop"):
        market.reset(load_scenario("shop"), 3, platform=Platform(outreach=Everybody(1)))


class ByStage:
    def pick(self, seed, requests, stage):
        return np.minimum(stage, 2).astype(np.int8)


def test_contents_move_true_rates_by_stage_and_cost_what_they_say(scenario):
    state = market.reset(scenario, 3, platform=Platform(content=ByStage()))
    after, tick = market.step(state, np.ones(40))
    requests, contents = tick.requests, scenario.world.contents
    plain = state.world.rates(3, requests._replace(content=None), np.zeros(len(requests.request), np.float32))
    moved = state.world.rates(3, requests, np.zeros(len(requests.request), np.float32))
    for rate, basis, effect in ((moved.ctr, plain.ctr, contents.click), (moved.cvr, plain.cvr, contents.conversion)):
        shift = np.log(rate / (1 - rate)) - np.log(basis / (1 - basis))
        wanted = np.array(effect)[requests.content, requests.stage]
        assert np.abs(shift - wanted).max() < 1e-3
    row, slot = np.nonzero(tick.slots.exposed)
    brand = tick.slots.winner[row, slot]
    place = (requests.candidates[row] == brand[:, None]).argmax(axis=1)
    cost = np.bincount(brand, contents.cost_micros[requests.content[row, place]], minlength=40)
    assert np.array_equal(after.memory.booked_micros.sum(axis=1), cost)
    day = played(scenario, Platform(content=ByStage())).memory.touches
    assert (day.event == Event.CONTENT).any()


def test_a_single_content_is_shown_to_all_whoever_picks(scenario):
    single = scenario.with_changes(world__contents__single="trial")
    for platform in (None, Platform(content=ByStage())):
        _, tick = market.step(market.reset(single, 3, platform=platform), np.ones(40))
        assert (tick.requests.content == 2).all()


def test_a_picker_of_nonsense_is_refused(scenario):
    class Nonsense:
        def pick(self, seed, requests, stage):
            return stage + 7

    with pytest.raises(ValueError, match=r"(?s)contents are .*allowed is one of 0 to 2"):
        market.step(market.reset(scenario, 3, platform=Platform(content=Nonsense())), np.ones(40))
