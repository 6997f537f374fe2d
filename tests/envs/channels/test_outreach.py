from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL
from tribid.envs.channels.config import DEFAULT_CHANNELS, Caps
from tribid.envs.channels.outbox import empty_outbox
from tribid.envs.channels.outreach import Outreach, StageTargeted, post
from tribid.envs.channels.prices import unit_micros
from tribid.envs.channels.sends import Sends, sends
from tribid.envs.stages import ENGAGED, ORDERED, SEEN, STAGES, stage_of

USERS, BRANDS, TICKS = 600, 4, 6


class Profile(NamedTuple):
    marks: NDArray[np.uint8]
    shown: NDArray[np.int16]

    @property
    def stages(self) -> NDArray[np.int8]:
        return stage_of(self.marks)


def profile(shown: int = 0) -> Profile:
    marks = np.random.default_rng(0).choice([0, SEEN, SEEN | ENGAGED, ORDERED], (USERS, BRANDS)).astype(np.uint8)
    return Profile(marks, np.full((USERS, BRANDS), shown, np.int16))


def day_of(rule: Outreach, memory: Profile, day: int = 0) -> list[Sends]:
    return [rule.send(3, day, tick, memory) for tick in range(TICKS)]


def test_only_the_named_stages_are_written_to_and_the_first_named_comes_first():
    memory = profile()
    stage = stage_of(memory.marks)
    for wanted in (("interested",), ("aware", "interested")):
        sent = [
            part for part in day_of(StageTargeted(DEFAULT_CHANNELS, TICKS, stages=wanted), memory) if len(part.user)
        ]
        names = [STAGES[k] for part in sent for k in stage[part.user, part.brand]]
        assert set(names) == set(wanted)
    rule = StageTargeted(tuple(c.model_copy(update={"audience": 1.0}) for c in DEFAULT_CHANNELS), TICKS)
    for part in day_of(rule, memory):
        interested = (stage[part.user] == 2).any(axis=1)
        assert (stage[part.user, part.brand] == np.where(interested, 2, 1)).all()


def test_each_user_hears_once_a_day_from_each_channel_and_from_few_brands():
    for brands in (1, 2):
        rule = StageTargeted(DEFAULT_CHANNELS, TICKS, brands=brands)
        counts = np.zeros((USERS, len(CHANNELS)), np.int64)
        for part in day_of(rule, profile()):
            np.add.at(counts, (part.user, part.channel), 1)
        assert counts[:, [EMAIL, DISPLAY]].max(axis=0).tolist() == [brands, brands]
        assert not counts[:, :2].any()


def test_what_goes_out_is_a_function_of_its_arguments_and_days_differ():
    rule, memory = StageTargeted(DEFAULT_CHANNELS, TICKS), profile()
    for one, same in zip(day_of(rule, memory), day_of(rule, memory), strict=True):
        assert all(np.array_equal(mine, theirs) for mine, theirs in zip(one, same, strict=True))
    assert sum(len(p.user) for p in day_of(rule, memory)) > 100
    other = day_of(rule, memory, day=1)
    assert any(not np.array_equal(a.user, b.user) for a, b in zip(day_of(rule, memory), other, strict=True))


def test_the_mailing_list_is_the_same_every_day():
    rule = StageTargeted(DEFAULT_CHANNELS, TICKS, brands=BRANDS, stages=STAGES)
    pairs = {
        day: {(u, b) for p in day_of(rule, profile(), day) for u, b, c, _ in zip(*p, strict=True) if c == EMAIL}
        for day in (0, 1)
    }
    share = len(pairs[0]) / (USERS * BRANDS)
    assert share == pytest.approx(0.35, abs=0.04)
    assert len(pairs[0] & pairs[1]) > 0.95 * len(pairs[0])


def test_the_cap_counts_what_other_channels_showed_today():
    rule = StageTargeted(DEFAULT_CHANNELS, TICKS, caps=Caps(per_day=2))
    assert sum(len(part.user) for part in day_of(rule, profile(shown=1))) > 0
    assert sum(len(part.user) for part in day_of(rule, profile(shown=2))) == 0


def test_contents_follow_the_stage():
    memory, contents = profile(), (0, 1, 2, 0, 1)
    rule = StageTargeted(DEFAULT_CHANNELS, TICKS, contents=contents)
    for part in day_of(rule, memory):
        assert (part.content == np.array(contents)[stage_of(memory.marks)[part.user, part.brand]]).all()


def test_posting_spends_what_is_left_and_not_a_micro_more():
    wanted = sends(np.arange(100), brand=np.arange(100) % 2, channel=np.where(np.arange(100) % 3 > 0, EMAIL, DISPLAY))
    price = np.array([unit_micros(channel) for channel in DEFAULT_CHANNELS])
    for left in (0, 1_499, 1_500, 3_499, 3_500, 10**9):
        money = np.array([left, 10**9])
        posted = post(
            empty_outbox((100, 2, 4)), wanted, DEFAULT_CHANNELS, money, np.zeros((100, 2), np.int16), seed=1, day=0, tick=0,
            hour=0.0,
        )  # fmt: skip
        sent = posted.messages.sent
        paid = np.bincount(sent.brand, price[sent.channel], minlength=2)
        assert (paid == posted.charge_micros).all() and (paid <= money).all()
        assert (posted.messages.price_micros == price[sent.channel]).all()
        assert paid[1] == price[wanted.channel[wanted.brand == 1]].sum()
        mine = wanted.channel[wanted.brand == 0]
        assert (sent.brand == 0).sum() == np.searchsorted(np.cumsum(price[mine]), left, side="right")


def test_posting_leaves_out_who_unsubscribed_and_what_the_cap_stops():
    wanted = sends(np.array([0, 1, 1, 2]), brand=0, channel=EMAIL)
    outbox = empty_outbox((3, 1, 4))
    outbox.gone[0, 0, EMAIL] = True
    shown = np.array([[0], [0], [3]], np.int16)
    posted = post(outbox, wanted, DEFAULT_CHANNELS, np.array([10**9]), shown, seed=1, day=0, tick=0, hour=9.0)
    assert posted.messages.sent.user.tolist() == [1]
    assert posted.charge_micros.tolist() == [unit_micros(DEFAULT_CHANNELS[EMAIL])]


def test_an_own_budget_costs_the_brand_nothing():
    channels = tuple(c.model_copy(update={"paid_from": "own", "own_budget": 1.0}) for c in DEFAULT_CHANNELS)
    wanted = sends(np.arange(5), brand=0, channel=EMAIL)
    posted = post(
        empty_outbox((5, 1, 4)),
        wanted,
        channels,
        np.array([0]),
        np.zeros((5, 1), np.int16),
        seed=1,
        day=0,
        tick=0,
        hour=0.0,
    )
    assert len(posted.messages.sent.user) == 5 and posted.charge_micros.tolist() == [0]


def posted(wanted, channels, money, caps=None, sent=None):
    """What goes out of these, in the first tick of the first day, to users who were shown nothing yet."""
    users, brands = int(wanted.user.max()) + 1, len(money)
    return post(
        empty_outbox((users, brands, 4)), wanted, channels, np.array(money), np.zeros((users, brands), np.int16), seed=1,
        day=0, tick=0, hour=0.0, caps=caps, sent=sent,
    )  # fmt: skip


def of_email(**changes):
    return tuple(c.model_copy(update=changes if c.name == "email" else {}) for c in DEFAULT_CHANNELS)


def test_an_own_budget_is_spent_on_messages_that_go_out_and_not_on_those_that_the_cap_stops():
    channels = of_email(paid_from="own", own_budget=0.006)  # three messages
    wanted = sends(np.array([0, 0, 0, 1, 2, 3]), brand=0, channel=EMAIL)
    assert posted(wanted, channels, [0], Caps(per_day=1)).messages.sent.user.tolist() == [0, 1, 2]
    one = np.array([[0, 0, 1, 0]])
    assert posted(wanted, channels, [0], Caps(per_day=1), one).messages.sent.user.tolist() == [0, 1]


def test_a_channel_sends_no_more_in_a_day_than_its_capacity_and_what_it_stops_costs_nothing():
    channels = of_email(capacity=4)
    email, banner = (unit_micros(DEFAULT_CHANNELS[by]) for by in (EMAIL, DISPLAY))
    wanted = sends(np.arange(9), brand=np.arange(9) % 2, channel=np.where(np.arange(9) < 8, EMAIL, DISPLAY))
    for before, users in ((0, [0, 1, 2, 3, 8]), (1, [0, 1, 2, 8]), (4, [8]), (7, [8])):
        already = np.array([[0, 0, before, 0], [0, 0, 0, 0]])
        got = posted(wanted, channels, [2 * email + banner, 10**9], sent=already)
        assert got.messages.sent.user.tolist() == users
        assert got.charge_micros.sum() == (len(users) - 1) * email + banner


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from([EMAIL, DISPLAY])), min_size=1, max_size=30),
    st.integers(0, 20_000), st.integers(0, 20), st.sampled_from([None, 3, 9]), st.sampled_from([None, 1, 2]),
)  # fmt: skip
def test_what_goes_out_is_what_goes_out_one_by_one(wishes, money, own, capacity, per_day):
    """Message by message, each posted alone with what those before it left, and none after one that cannot be paid."""
    channels = of_email(paid_from="own", own_budget=own / 1000, capacity=capacity)
    caps = Caps(per_day=per_day, per_channel=(3, 3, 2, 3))
    wanted = Sends(*np.array([(user, brand, by, 0) for user, brand, by in wishes]).T)
    outbox, left = empty_outbox((3, 2, 4)), np.array([money, 2 * money])
    shown, sent, closed, rows = np.zeros((3, 2, 4), np.int16), np.zeros((2, 4), np.int64), set(), []
    when = {"seed": 1, "day": 0, "tick": 0, "hour": 0.0, "caps": caps}
    for row, (user, brand, by) in enumerate(wishes):
        one = wanted.take(np.array([row]))
        purse = (brand, by == EMAIL)
        if purse in closed:
            continue
        if len(post(outbox, one, channels, left, shown, sent=sent, **when).messages.sent.user):
            rows.append(row)
            left[brand] -= 0 if by == EMAIL else unit_micros(channels[by])
            shown[user, brand, by] += 1
            sent[brand, by] += 1
        else:
            rich = tuple(c.model_copy(update={"own_budget": 1.0 if c.name == "email" else 0.0}) for c in channels)
            if len(post(outbox, one, rich, left + 10**9, shown, sent=sent, **when).messages.sent.user):
                closed.add(purse)  # it was the money
    got = post(outbox, wanted, channels, np.array([money, 2 * money]), np.zeros((3, 2, 4), np.int16), **when)
    assert [column.tolist() for column in got.messages.sent] == [
        column.tolist() for column in wanted.take(np.array(rows, int))
    ]
    assert got.charge_micros.tolist() == (np.array([money, 2 * money]) - left).tolist()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stages": ("happy",)}, "stages is"), ({"stages": ()}, "stages is"), ({"ticks": 0}, "ticks is 0"),
        ({"contents": (1,)}, "5 contents"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        StageTargeted(DEFAULT_CHANNELS, **({"ticks": TICKS} | settings))
