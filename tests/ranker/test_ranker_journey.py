"""A ranker in front of a journey: a request that tells scene and profile is decided as the simulator decides that row."""

import asyncio
from time import perf_counter

import msgspec
import numpy as np
import pytest

from tests.envs.journey.conftest import SMALL
from tribid.envs import market
from tribid.envs.platform import Platform, Rates
from tribid.envs.scenario import load_scenario
from tribid.ranker import Event, LiveRanker, Offer, Ranker, Request, decode_request
from tribid.ranker.time_budget import TimeBudget


class Contents:
    def pick(self, seed, requests, stage):
        return np.minimum(stage, 2).astype(np.int8)


@pytest.fixture(scope="module")
def scenario():
    return load_scenario("journey").with_changes(**SMALL)


def _asked(world, memory, requests, row, guess, *, offers):
    """The row as a service would be told it; with ``offers`` the caller brings the candidates itself."""
    user, names = int(requests.user[row]), world.advertisers.names
    scene = world.journey.scenes[requests.scene[row]]
    told = {
        "request": int(requests.request[row]), "user": user, "day": requests.day, "tick": requests.tick,
        "state": "buying" if guess else "browsing", "buying": float(requests.buying[row]), "scene": scene.name,
        "marks": {names[b]: int(m) for b, m in enumerate(memory.marks[user]) if m},
        "shown": {names[b]: int(n) for b, n in enumerate(memory.shown[user]) if n},
    }  # fmt: skip
    if requests.bought[row] >= 0:
        told["bought"] = int(requests.bought[row])
    if scene.candidates == "cart":
        told["category"] = int(memory.cart[user])
    who = requests.candidates[row]
    if scene.candidates == "category":
        told["category"] = int(world.categories.category[who[who >= 0][0]])
    if offers:
        told["candidates"] = [{"advertiser": names[b]} for b in who if b >= 0]
    return decode_request(msgspec.json.encode(told))


@pytest.mark.parametrize("changes", [
    {"rules__ocpc__index": "dynamic", "world__traffic__requests": 2400},
    {"rules__auction": "vcg", "world__stages__known": False, "world__fatigue__known": False},
], ids=["gsp", "vcg, journey not known"])  # fmt: skip
def test_pages_of_a_day_are_decided_as_the_simulator_decides_them_bit_for_bit(scenario, changes):
    own, platform = scenario.with_changes(**changes), Platform(content=Contents())
    ranker = Ranker(own, "truthful", seed=9, platform=platform)
    state, world = market.reset(own, 9, platform=platform), None
    rows = retrieved = 0
    scenes = set()
    while not state.done:
        world, memory = state.world, state.memory
        before = state
        state, tick = market.step(state, ranker.multipliers)
        requests, visits = tick.requests, world.visits(state.day, tick.number)
        ranker.left_micros = before.left_micros.copy()
        for row in range(len(requests.request)):
            who = requests.candidates[row]
            if not (who >= 0).any():
                continue
            guess = visits.guess[requests.session[row]]
            plain = _asked(world, memory, requests, row, guess, offers=False)
            offered = _asked(world, memory, requests, row, guess, offers=True)
            effects = world.layouts[requests.scene[row]].slot_effects
            rules = own.rules.model_copy(update={"slot_effects": tuple(effects)})
            want = market_row(rules, world, ranker, requests, tick.predicted, row)
            request, found = plain, _found(ranker, plain)
            if not np.array_equal(found, who[who >= 0]):  # an earlier page of the tick used up the cap
                assert set(who[who >= 0]) < set(found)
                request = offered
            retrieved += request is plain
            got = ranker.rank(request)
            assert not got.fallbacks
            assert [slot.ad for slot in got.slots] == [ad for ad in want.winner[0].tolist() if ad >= 0]
            for slot in got.slots:
                place = who.tolist().index(slot.ad)
                assert slot.price_micros == want.price_micros[0, slot.slot]
                assert slot.score == want.score[0, slot.slot]
                assert slot.pctr == float(tick.predicted.ctr[row, place])
                assert slot.pcvr == float(tick.predicted.cvr[row, place])
            rows += 1
            scenes.add(int(requests.scene[row]))
    assert rows >= (2000 if len(changes) == 2 else 1300)
    assert rows / 2 < retrieved < rows
    assert scenes == set(range(6))


def test_a_live_ranker_answers_scenes_and_charges_their_clicks(scenario):
    async def play():
        ranker = await LiveRanker.open(scenario, {"own": "truthful"})
        pages = [
            Request(request=1, user=1, scene="home", marks={"adv_03": 3}, shown={"adv_04": 2}),
            Request(request=2, user=1, scene="paid", bought=3), Request(request=3, user=1, scene="cart", category=2),
        ]  # fmt: skip
        told = [await ranker.rank(page) for page in pages]
        charged = 0
        for page in told:
            for kind in ("impression", "click"):
                event = Event(id=f"{page.id} {kind}", kind=kind, decision=page.id, slot=0)
                charged += (await ranker.events([event]))[0].charged_micros
        await ranker.close()
        return told, charged

    told, charged = asyncio.run(play())
    assert [len(page.slots) for page in told] == [3, 2, 2]
    assert charged == sum(page.slots[0].price_micros for page in told)


def market_row(rules, world, ranker, requests, predicted, row):
    from tribid.envs.decision import decide

    one = slice(row, row + 1)
    return decide(
        rules, world.advertisers, ranker.multipliers, ranker.left_micros, requests.rows(one),
        Rates(*(rate[one] for rate in predicted)), 9,
    )  # fmt: skip


def _found(ranker, request):
    return ranker.pipeline.prepare(request, request.day, request.tick, TimeBudget(None, perf_counter)).found.ads[0]


def test_a_page_whose_brands_are_all_capped_stays_empty(scenario):
    ranker = Ranker(scenario, "truthful")
    names = ranker._world.advertisers.names
    assert ranker.rank(Request(request=1, user=1)).slots
    told = ranker.rank(Request(request=1, user=1, shown=dict.fromkeys(names, 5)))
    assert told.slots == ()
    assert not told.fallbacks


def test_a_brand_over_its_cap_is_not_shown_whoever_brings_it_and_whatever_fails(scenario):
    def fails(page):
        raise RuntimeError("retrieval is down")

    broken = Ranker(scenario, "truthful", stages=lambda own: own._replace(retrieve=fails))
    shown = [slot.advertiser for slot in broken.rank(Request(request=1, user=1)).slots]
    told = broken.rank(Request(request=1, user=1, shown={shown[0]: 5}))
    assert told.fallbacks == ("retrieve:popularity",)
    assert shown[0] not in [slot.advertiser for slot in told.slots]
    offers = tuple(Offer(name, pctr=0.1, pcvr=0.1) for name in ("adv_01", "adv_02", "adv_03", "adv_04"))
    ranker = Ranker(scenario, "truthful")
    first = ranker.rank(Request(request=1, candidates=offers)).slots[0].advertiser
    told = ranker.rank(Request(request=1, candidates=offers, shown={first: 7}))
    assert told.slots
    assert first not in [slot.advertiser for slot in told.slots]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scene": "attic"}, r"\$.scene is 'attic'; choose home, guess"),
        ({"scene": "cart"}, r"\$.category is missing; scene 'cart'"),
        ({"scene": "paid"}, r"\$.bought is missing"),
        ({"scene": "cart", "category": 20}, r"\$.category is 20; allowed is 0 to 19"),
        ({"marks": {"nobody": 1}}, r"\$.marks names 'nobody'"),
        ({"shown": {"adv_00": -1}}, r"\$.shown\['adv_00'\] is -1"),
    ],
)
def test_scenes_and_profiles_that_cannot_be_are_refused_by_name(scenario, given, said):
    with pytest.raises(ValueError, match=said):
        Ranker(scenario, "truthful").rank(Request(request=1, user=1, **given))


def test_a_scene_is_refused_where_there_are_none():
    with pytest.raises(ValueError, match="the scenario has no scenes"):
        Ranker("tiny", "truthful").rank(Request(request=1, user=1, scene="home"))
