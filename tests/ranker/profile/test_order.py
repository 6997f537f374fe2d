"""The same events make the same profile, whatever their order and however often each comes; triggers fire once."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranker.profile.house import event, triggers
from tests.ranker.profile.house import settings as settings_of
from tribid.envs.stages import Event, mark_all
from tribid.envs.triggers import DAY_MS, HOUR_MS
from tribid.ranker.profile import record as record_module
from tribid.ranker.profile.book import ProfileBook
from tribid.ranker.profile.counting import new_record
from tribid.ranker.profile.messages import StockMove
from tribid.ranker.profile.testing_triggers import NOON, Clock

KINDS = [kind.name.lower() for kind in Event] + ["cart_removed", "open", "joined", "left"]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 4), st.sampled_from([None, "a", "b"]), st.integers(0, 12),
        st.sampled_from([None, "club", "app"]),
    ),
    max_size=25,
)  # fmt: skip


def _made(told):
    return [
        event(kind, name=str(place), item=item, brand=brand, time_ms=NOON - time, action=action)
        for place, (kind, item, brand, time, action) in enumerate(told)
    ]


def _profile(events, **told):
    told.setdefault("triggers", ())
    book = ProfileBook(settings_of(**told), b"salt" * 8)
    for one in events:
        book.take(one)
    record = book.records.get("ann", new_record("ann"))
    return record.profile, record.interests, record.ids


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.data())
def test_a_profile_is_the_same_for_any_order_and_duplicates(told, data):
    events = _made(told)
    shuffled = data.draw(st.permutations(events + events[::2]))
    assert _profile(shuffled) == _profile(events)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b"])), max_size=12), st.data())
def test_what_was_shown_is_that_of_the_newest_day_in_any_order(told, data):
    events = [
        event("exposure", name=str(place), brand=brand, time_ms=NOON - halves * 12 * HOUR_MS)
        for place, (halves, brand) in enumerate(told)
    ]
    days = [(one.time_ms // DAY_MS, one.brand) for one in events]
    newest = max((day for day, _ in days), default=0)
    wanted = Counter(brand for day, brand in days if day == newest)
    profile = _profile(data.draw(st.permutations(events + events[::2])))[0]
    assert (profile.shown_day, profile.shown) == (newest, dict(wanted))


@pytest.mark.parametrize("kind", ["view", "favourite", "order", "cart", "cart_removed", "joined"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_order_does_not_matter_where_only_the_newest_are_kept(kind, data):
    with pytest.MonkeyPatch.context() as patched:
        for name in ("VIEWED", "ORDERS", "HELD"):
            patched.setattr(record_module, name, 3)
        other = {"cart": "cart_removed", "joined": "left"}.get(kind, kind)
        told = data.draw(
            st.lists(st.tuples(st.sampled_from([kind, other]), st.integers(0, 6), st.integers(0, 9)), max_size=20)
        )
        events = [
            event(one, name=str(place), item=None if kind == "joined" else item, time_ms=NOON - time,
                  action=f"a{item}" if kind == "joined" else None)
            for place, (one, item, time) in enumerate(told)
        ]  # fmt: skip
        first = _profile(events)[0]
        assert _profile(data.draw(st.permutations(events)))[0] == first
        held = (
            first.viewed,
            first.favourites,
            first.orders,
            {**first.cart, **first.removed},
            {**first.actions, **first.left},
        )
        assert all(len(kept) <= 3 for kept in held)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_marks_are_those_of_the_stages(told):
    import numpy as np

    events = [one for one in _made(told) if one.brand is not None and one.kind.upper() in Event.__members__]
    kinds = np.array([Event[one.kind.upper()] for one in events], np.int64)
    brands = np.array([["a", "b"].index(one.brand) for one in events], np.int64)
    wanted = mark_all(np.zeros((1, 2), np.uint8), np.zeros(len(events), np.int64), brands, kinds)
    profile = _profile(events)[0]
    assert [profile.marks.get(brand, 0) for brand in ("a", "b")] == wanted[0].tolist()


def _move(item, time, before, after, count=(5, 5), version=0):
    return StockMove(
        item=item, before_micros=before, after_micros=after, before_count=count[0], after_count=count[1], time_ms=time,
        version=version,
    )  # fmt: skip


def _fired(told, late=0, **changed):
    """Message ids and what they are about, after events and changes in this order, and a day of tending."""
    clock = Clock()
    book = ProfileBook(settings_of(clock, triggers=triggers(**changed)), b"salt" * 8)
    made = []
    for one in told:
        if isinstance(one, StockMove):
            moved = book.move(one)
            made += [] if moved is None else book.spread(moved.move, book.wanting(one.item))
        else:
            made += book.take(one)[1]
    for _ in range(30):
        clock.go(1)
        more = True
        while more:
            entries, more = book.due(clock.now_ms, lambda users: True)
            made += entries
    messages = [one.message for one in made if getattr(one, "message", None) is not None]
    assert len({message.id for message in messages}) == len(messages), "a message was made twice"
    return sorted((message.id, message.user, message.trigger, message.item) for message in messages)


def test_what_is_due_is_settled_until_it_is_enough():
    clock, asked = Clock(), []
    book = ProfileBook(settings_of(clock, complements=lambda item: (item + 1,)), b"salt" * 8)
    for number in range(10):
        book.take(event("order", f"u{number}", item=number))
    clock.go(2)

    def is_enough(users):
        asked.append(users)
        return users == 3

    settled = []
    more = True
    while more:
        entries, more = book.due(clock.now_ms, is_enough)
        settled.append(len(entries))
    assert settled == [3, 3, 3, 1] and asked == [1, 2, 3] * 3 + [1]


STORY = [
    event("view", name="1", item=1, time_ms=NOON - 90),
    event("view", "bob", name="1", item=1, time_ms=NOON - 10),
    event("cart", name="2", item=2, time_ms=NOON - 80),
    event("cart", "bob", name="2", item=2, time_ms=NOON - 80),
    event("cart_removed", "bob", name="3", item=2, time_ms=NOON - 70),
    event("favourite", name="3", item=4, time_ms=NOON - 85),
    event("order", "cy", name="1", item=6, time_ms=NOON - 60),
    event("cart", "cy", name="2", item=6, time_ms=NOON - 65),
    _move(1, NOON - 50, 100, 80),
    _move(4, NOON - 40, 100, 100, (0, 3)),
]


def test_a_story_sets_off_the_messages_that_one_would_expect():
    assert [told[1:] for told in sorted(_fired(STORY), key=lambda told: told[1:])] == [
        ("ann", "back_in_stock", 4), ("ann", "cart_abandoned", 2), ("ann", "price_drop", 1), ("cy", "complementary", 7),
    ]  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.permutations(STORY + STORY[::2]))
def test_each_trigger_fires_once_whatever_the_order_and_the_duplicates(told):
    assert _fired(told) == _fired(STORY)


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(4)), st.lists(st.integers(0, 12), min_size=3, max_size=3))
def test_a_cart_is_written_about_once_and_only_about_the_newest_that_is_left_in_it(order, hours):
    clock = Clock()
    book = ProfileBook(settings_of(clock), b"salt" * 8)
    put = {item: NOON - 9 + place for place, item in enumerate(order)}
    for item, at_ms in put.items():
        book.take(event("cart", item=item, time_ms=at_ms))
    left, sent = dict(put), []
    for hour in range(16):
        for item, when in zip(order[1:], hours, strict=True):
            if when == hour and item in left and not sent:
                book.take(event("cart_removed", item=item, time_ms=clock.now_ms))
                del left[item]
        clock.go(1)
        found = [one.message.item for one in book.due(clock.now_ms, lambda users: False)[0] if one.message is not None]
        if found:
            assert found == [max(left, key=left.get)]
        sent += found
    assert len(sent) == 1


@settings(max_examples=60, deadline=None)
@given(st.permutations(STORY), st.integers(0, 3))
def test_the_cap_holds_over_all_triggers_in_any_order(told, cap):
    fired = _fired(told, cap=cap)
    for user, of_user in itertools.groupby(sorted(fired, key=lambda one: one[1]), key=lambda one: one[1]):
        assert len(list(of_user)) <= cap, user
    assert len(fired) <= len(_fired(STORY))


@settings(max_examples=60, deadline=None)
@given(st.permutations(STORY), st.integers(0, 23), st.integers(0, 23), st.integers(-12, 12))
def test_nothing_is_made_in_the_quiet_hours(told, start, end, offset):
    quiet = triggers(quiet_from=start, quiet_to=end, utc_offset_hours=offset)
    clock = Clock()
    book = ProfileBook(settings_of(clock, triggers=quiet), b"salt" * 8)
    made = []
    for one in told:
        made += book.spread(one, book.wanting(one.item)) if isinstance(one, StockMove) and book.move(one) else []
        made += [] if isinstance(one, StockMove) else book.take(one)[1]
    for _ in range(60):
        clock.now_ms += HOUR_MS // 2
        made += book.due(clock.now_ms, lambda users: False)[0]
    times = [one.message.created_ms for one in made if getattr(one, "message", None) is not None]
    hours = [(time_ms / HOUR_MS + offset) % 24 for time_ms in times]
    assert all(not (start <= hour < end if start < end else start != end and not end <= hour < start) for hour in hours)
    assert len(times) == 4, "delayed, not dropped"
