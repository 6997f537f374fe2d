"""Loads of a service's consumers' side: what is sent, and what counts as an answer."""

import msgspec
import pytest

from tribid.benchmark.loadtest.asks import AskProfiles, AskSlots
from tribid.benchmark.loadtest.load import Load
from tribid.ranker.open_time.card import Card, Painter
from tribid.ranker.open_time.tokens import Signer
from tribid.ranker.profile.messages import Profile
from tribid.ranker.service.wire import EventBatch

LOAD = Load(url="http://127.0.0.1:1/")


def test_slots_are_opened_mail_by_mail_with_tokens_that_the_server_takes() -> None:
    signer = Signer([b"k" * 32])
    asks = AskSlots(LOAD, signer, users=10, now_ms=1_000, per_mail=2)
    opened = []
    for request in range(4):
        (ask,) = asks.steps(request)
        assert ask.method == "GET" and ask.body is None and ask.url.startswith("http://127.0.0.1:1/v1/slot/")
        opened.append(signer.read("open", ask.url.rpartition("/")[2].removesuffix(".png"), now_ms=1_001))
    assert [slot.slot for slot in opened] == [0, 1, 0, 1]
    assert opened[0].message == opened[1].message != opened[2].message
    assert all(0 <= int(slot.user) < 10 for slot in opened)


def test_what_is_no_picture_is_no_answer() -> None:
    asks = AskSlots(LOAD, Signer([b"k" * 32]), users=1, now_ms=0)
    assert asks.read(0, b"\x89PNG\r\n\x1a\n...") == ()
    with pytest.raises(ValueError, match="no PNG"):
        asks.read(0, b"{}")


def test_the_picture_that_stands_in_for_a_slot_is_no_answer() -> None:
    asks = AskSlots(LOAD, Signer([b"k" * 32]), users=1, now_ms=0)
    with pytest.raises(ValueError, match="the answer is the fallback"):
        asks.read(0, Painter(7).fallback())
    card = Card(item=1, category=1, title="Lamp", price="$ 9.90", hint="", few=False)
    assert asks.read(0, Painter(7).draw(card)) == ()


def test_a_profile_counts_only_with_the_event_that_was_sent_before() -> None:
    asks = AskProfiles(LOAD, users=5, items=100, now_ms=50_000)
    post, get = asks.steps(3)
    assert post.method == "POST" and post.body is not None
    (event,) = msgspec.json.decode(post.body, type=EventBatch).consumers
    assert event.kind == "view" and event.item is not None
    assert get == ("GET", f"http://127.0.0.1:1/v1/profile/{event.user}", None)
    holds = Profile(user=event.user, viewed=[(99, 50_002), (event.item, 50_001)])
    assert asks.read(3, msgspec.json.encode(holds)) == ()
    for stale in (
        Profile(user=event.user, viewed=[(event.item + 1, 50_001)]),
        Profile(user=event.user, viewed=[(event.item, 40_000)]),  # of a load before
        Profile(user="somebody else", viewed=[(event.item, 50_001)]),
    ):
        with pytest.raises(ValueError, match=r"does not hold|another user"):
            asks.read(3, msgspec.json.encode(stale))
    assert asks.steps(3)[0].body != asks.steps(4)[0].body


@pytest.mark.parametrize(("users", "items"), [(1, 1), (1, 7), (2, 2), (90, 120), (97, 101)])
def test_no_user_views_an_item_twice_before_all_have_viewed_all(users: int, items: int) -> None:
    asks = AskProfiles(LOAD, users=users, items=items)
    pairs = set()
    for request in range(users * items):
        body = asks.steps(request)[0].body
        assert body is not None
        (event,) = msgspec.json.decode(body, type=EventBatch).consumers
        pairs.add((event.user, event.item))
    assert pairs == {(str(user), item) for user in range(users) for item in range(items)}
