"""A ranker in front of a shop, with learnt parts in their places."""

import json

import msgspec
import numpy as np
import pytest

from tests.envs.test_shop import SMALL
from tribid.envs import market
from tribid.envs.platform import Platform
from tribid.envs.scenario import load_scenario
from tribid.envs.visit_events import EVENTS
from tribid.ranker import Ranker, Request, decode_request


@pytest.fixture(scope="module")
def scenario():
    return load_scenario("shop").with_changes(**SMALL)


class Picker:
    def pick(self, seed, requests):
        return (requests.candidates % 5).astype(np.int8)


class Backwards:
    def retrieve(self, items, age_days, length, count, allowed=None):
        return np.tile(np.flatnonzero(allowed)[::-1][:count].astype(np.int32), (len(items), 1))


class Searchers:
    def predict(self, kind, category, seconds, length):
        searched = (kind == EVENTS.index("search")) & (np.arange(kind.shape[1]) < length[:, None])
        return np.where(searched.any(axis=1), 0.9, 0.2).astype(np.float32)


PARTS = Platform(retriever=Backwards(), picker=Picker(), state=Searchers())


@pytest.mark.parametrize("platform", [None, PARTS], ids=["own parts", "learnt parts"])
def test_a_shops_pages_are_decided_as_the_simulator_decides_them(scenario, platform):
    dynamic = scenario.with_changes(rules__ocpc__index="dynamic")
    ranker = Ranker(dynamic, "truthful", seed=9, platform=platform)
    state = market.reset(dynamic, 9, platform=platform)
    shop = state.world
    tick = market.step(state, ranker.multipliers)[1]
    visits = shop.visits(state.day, 0)
    for row in range(0, len(tick.requests.request), 7):
        v = int(tick.requests.session[row])
        events = [
            {"kind": EVENTS[k], "category": int(c), "seconds": float(s)}
            for k, c, s, e in zip(*(part[v] for part in visits.events[:3]), range(99), strict=False)
            if e < visits.events.length[v]
        ]
        told = ranker.rank(
            decode_request(
                msgspec.json.encode({
                    "request": int(tick.requests.request[row]), "user": int(visits.user[v]), "tick": 0, "events": events,
                    "state": "buying" if visits.guess[v] else "browsing",
                })
            )
        )  # fmt: skip
        decided = ranker.decide_rows(
            tick.requests.rows(slice(row, row + 1)), market.Rates(*(x[row : row + 1] for x in tick.predicted))
        )
        assert [slot.ad for slot in told.slots] == [ad for ad in decided.winner[0].tolist() if ad >= 0]
        assert [slot.price_micros for slot in told.slots] == decided.price_micros[0, : len(told.slots)].tolist()
        for slot in told.slots:
            assert slot.creative == (0 if platform is None else slot.ad % 5)


def test_a_request_may_say_what_the_state_model_would(scenario):
    ranker = Ranker(scenario.with_changes(rules__ocpc__index="dynamic", rules__ocpc__click_value=50.0), "truthful")

    def shown(user, belief):
        return [slot.ad for slot in ranker.rank(Request(request=3, user=user, buying=belief)).slots]

    assert any(shown(user, 0.0) != shown(user, 1.0) for user in range(40))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"events": [{"kind": "jump"}]}, r"events\[0\].kind"),
        ({"events": [{"kind": "view", "seconds": float("nan")}]}, "malformed"),
        ({"events": [{"kind": "view", "category": -1}]}, r"events\[0\].category"),
    ],
)
def test_events_that_cannot_be_are_refused_by_name(bad, said):
    with pytest.raises(ValueError, match=said):
        decode_request(json.dumps({"request": 1, "user": 0, **bad}))
