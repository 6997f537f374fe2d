"""Loads of a service's consumers' side: what is sent, and what counts as an answer."""

import msgspec
import pytest

from tribid.benchmark.loadtest.asks import AskProfiles, AskSlots
from tribid.benchmark.loadtest.load import Load
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


def test_a_profile_counts_only_with_the_event_that_was_sent_before() -> None:
    asks = AskProfiles(LOAD, users=5, items=100)
    post, get = asks.steps(3)
    assert post.method == "POST" and post.body is not None
    (event,) = msgspec.json.decode(post.body, type=EventBatch).consumers
    assert event.kind == "view" and event.item is not None
    assert get == ("GET", f"http://127.0.0.1:1/v1/profile/{event.user}", None)
    holds = Profile(user=event.user, viewed=[(99, 2), (event.item, 1)])
    assert asks.read(3, msgspec.json.encode(holds)) == ()
    with pytest.raises(ValueError, match="does not hold"):
        asks.read(3, msgspec.json.encode(Profile(user=event.user, viewed=[(event.item + 1, 1)])))
    assert asks.steps(3)[0].body != asks.steps(4)[0].body
