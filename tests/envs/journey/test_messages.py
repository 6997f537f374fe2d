"""Contents and messages outside the auction: what they move, what they cost, and that one cap holds for all."""

from dataclasses import replace

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.attribution.accounting import attributed
from tribid.envs.attribution.reward import log_of_journey
from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL
from tribid.envs.channels.config import DEFAULT_CHANNELS, Caps
from tribid.envs.channels.delivery import Messages
from tribid.envs.channels.outreach import StageTargeted, on_list
from tribid.envs.channels.sends import Sends
from tribid.envs.journey.memory import NOTHING
from tribid.envs.journey.messages import odds_of
from tribid.envs.platform import Platform
from tribid.envs.scenario import MICROS, load_scenario
from tribid.envs.stages import Event


@pytest.fixture(scope="module")
def channels(scenario):
    listed = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    listed[EMAIL] |= {"paid_from": "own", "own_budget": 1000.0, "audience": 1.0}
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
    listed[EMAIL] |= {"paid_from": payer, "cost": 1.0, "own_budget": 50.0 if payer == "own" else 0.0, "audience": 1.0}
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


class AllDay:
    """Writes a mail for one brand after the other to so many users in every tick."""

    def __init__(self, users):
        self.users = users

    def send(self, seed, day, tick, memory):
        who = np.arange(self.users)
        return Sends(who, (who + tick) % 40, np.full(self.users, EMAIL), np.full(self.users, -1))


def eager(scenario, **changes):
    """A scenario whose mails everybody opens, clicks and orders by."""
    listed = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    answered = {"audience": 1.0, "open_rate": 1.0, "ctr_effect": 5.0, "cvr_effect": 5.0}
    listed[EMAIL] |= {"cost": 0.0, "delay": "exponential", "delay_hours": 3.0} | answered | changes
    return scenario.with_changes(world__channels=listed)


def test_every_order_counts_on_exactly_one_day(scenario):
    likely = eager(scenario)
    one = played(likely, Platform(outreach=AllDay(150)))
    two = market.reset(likely, 3, 1, platform=Platform(outreach=AllDay(150)), memory=one.memory)
    days = [log_of_journey(one)]
    while not two.done:
        two, _ = market.step(two, np.ones(40))
    days.append(log_of_journey(two))
    credited = [attributed(*log[:2], brands=40, channels=4, since_hours=log.since_hours) for log in days]
    counted = sum(told.conversions.sum() + told.direct.sum() for told in credited)
    orders = two.memory.touches.rows(two.memory.touches.event == Event.ORDER)
    assert counted == pytest.approx(orders.size)
    late = (orders.hour >= 20.0) & (orders.hour < 24.0) & (orders.request == NOTHING)
    assert late.sum() > 10  # mails of the first day's last tick
    assert (one.memory.touches.event == Event.ORDER).sum() == (orders.hour < 24.0).sum()
    assert (one.memory.outbox.pending.open_hour >= 24.0).all() and one.memory.touches.hour.max() < 24.0


def test_a_day_goes_on_without_an_outreach_and_opens_what_is_on_its_way(scenario):
    likely = eager(scenario, delay_hours=20.0)
    evening = played(likely, Platform(outreach=AllDay(100))).memory
    waiting = evening.outbox.pending
    state = market.reset(likely, 3, 1, memory=evening)
    while not state.done:
        state, _ = market.step(state, np.ones(40))
    log = state.memory.since(24.0)
    opened = log.rows((log.channel == EMAIL) & (log.event == Event.EXPOSURE))
    assert opened.size == (waiting.open_hour < 48.0).sum() > 50
    assert state.memory.messages.sum() == state.memory.written.sum() == state.memory.booked_micros.sum() == 0
    assert len(state.memory.outbox.pending.open_hour) == (waiting.open_hour >= 48.0).sum()
    with pytest.raises(ValueError, match=r"no world\.channels"):
        market.reset(scenario.with_changes(world__channels=()), 3, 1, memory=evening)


def test_nobody_is_written_to_who_is_not_on_the_brands_list(channels):
    listed = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    for audience in (0.0, 0.3):
        listed[EMAIL]["audience"] = audience
        few = channels.with_changes(world__channels=listed)
        state, _ = market.step(market.reset(few, 3, platform=Platform(outreach=AllDay(200))), np.ones(40))
        who = np.arange(200)
        own = on_list(3, who, who % 40, EMAIL, few.world.channels)
        assert state.memory.written.tolist() == own.astype(int).tolist()
        assert own.sum() == 0 if audience == 0.0 else 30 < own.sum() < 90


def test_a_days_messages_are_counted_by_user_and_channel_and_end_with_its_capacity(channels):
    listed = [channel.model_dump() for channel in channels.world.channels]
    listed[EMAIL]["capacity"] = 500
    state = played(channels.with_changes(world__channels=listed), Platform(outreach=AllDay(200)))
    assert state.memory.messages.sum(axis=0).tolist() == [0, 0, 500, 0]
    assert state.memory.written[:100].tolist() == [3] * 100 and state.memory.written[100:].tolist() == [2] * 100
    after = market.reset(state.scenario, 3, 1, platform=Platform(outreach=AllDay(200)), memory=state.memory).memory
    assert after.messages.sum() == after.written.sum() == 0


def test_a_capacity_of_the_auctions_own_pages_is_refused(channels):
    listed = [channel.model_dump() for channel in channels.world.channels]
    listed[0]["capacity"] = 10
    with pytest.raises(
        ValueError, match="channel feed: capacity is 10; allowed is none where a journey's auctions decide"
    ):
        market.reset(channels.with_changes(world__channels=listed), 3, platform=Platform(outreach=AllDay(1)))


@pytest.mark.parametrize(("sent_hour", "before"), [(20.0, 3), (24.0, 2), (25.0, 2)])
def test_a_mail_of_the_day_before_takes_nothing_off_todays_exposures(channels, sent_hour, before):
    world = market.reset(channels, 3).world
    memory = world.opening(world.day(3, 1))
    memory = replace(memory, shown=np.full_like(memory.shown, 3))
    sent = Sends(np.array([4]), np.array([0]), np.array([EMAIL]), np.array([-1]))
    mail = Messages(sent, np.array([sent_hour]), np.array([26.0]), np.zeros(1, np.int64), np.zeros((1, 3)))
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        rates = world.rates
        patch.setattr(
            world, "rates", lambda seed, requests, share: asked.append(requests) or rates(seed, requests, share)
        )
        odds_of(world, memory, world.day(3, 1), 1, mail)
    assert asked[0].shown.tolist() == [[before]]


def test_a_message_costs_its_content_outside_the_budgets(channels):
    """Two reviews and three trials: booked beside their mails, charged to nobody, no matter what an own budget has."""
    listed = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    listed[EMAIL] |= {"audience": 1.0, "paid_from": "own", "own_budget": 0.01}
    state = market.reset(channels.with_changes(world__channels=listed), 3, platform=Platform(outreach=Mixed()))
    after, _ = market.step(state, np.zeros(40))
    assert after.memory.messages[0].tolist() == [0, 0, 5, 0]
    assert after.memory.booked_micros[0, EMAIL] == 5 * 2000 + 2 * 2000 + 3 * 3000
    assert (after.left_micros == state.left_micros).all()


class Mixed:
    """Two reviews and four trials, the last of which an own budget of five mails has no money for."""

    def send(self, seed, day, tick, memory):
        return Sends(np.arange(6), np.zeros(6, int), np.full(6, EMAIL), np.array([1, 1, 2, 2, 2, 2]))


@pytest.mark.parametrize(
    ("outreach", "said"),
    [
        (Everybody(201), "user of a message is 0 to 200; allowed is 0 to 199"),
        (Everybody(5, channel=0), "channels of messages are"),
        (Everybody(5, content=3), "content of a message is 3 to 3; allowed is -1 to 2"),
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


def test_a_single_content_is_shown_to_all_and_whoever_picks_is_refused(scenario):
    single = scenario.with_changes(world__contents__single="trial")
    _, tick = market.step(market.reset(single, 3), np.ones(40))
    assert (tick.requests.content == 2).all()
    with pytest.raises(ValueError, match=r"platform\.content was given; allowed is none where .*single is 'trial'"):
        market.reset(single, 3, platform=Platform(content=ByStage()))


@pytest.mark.parametrize("platform", [None, Platform(content=ByStage())])
def test_predictions_that_do_not_know_stages_do_not_tell_them_by_the_content(scenario, platform):
    """The same pages, their users' stages dealt anew: other truths, the same predictions."""
    state = market.reset(scenario.with_changes(world__stages__known=False), 3, platform=platform)
    requests = market.step(state, np.ones(40))[1].requests
    if platform is None:
        requests = requests._replace(content=np.full(requests.stage.shape, 2, np.int8))
    stages = requests.stage.ravel()
    dealt = requests._replace(stage=np.random.default_rng(0).permutation(stages).reshape(requests.stage.shape))
    share = np.full(len(requests.request), 0.25, np.float32)
    truths = [state.world.rates(3, one, share) for one in (requests, dealt)]
    told = [state.forecaster.predict(3, one, truth) for one, truth in zip((requests, dealt), truths, strict=True)]
    there = requests.candidates >= 0
    for true, predicted in zip(zip(*truths, strict=True), zip(*told, strict=True), strict=True):
        assert np.abs(true[0] - true[1])[there].max() > 0.01
        np.testing.assert_allclose(predicted[0][there], predicted[1][there], rtol=1e-4)


def test_a_picker_of_nonsense_is_refused(scenario):
    class Nonsense:
        def pick(self, seed, requests, stage):
            return stage + 7

    with pytest.raises(ValueError, match=r"(?s)contents are .*allowed is one of 0 to 2"):
        market.step(market.reset(scenario, 3, platform=Platform(content=Nonsense())), np.ones(40))
