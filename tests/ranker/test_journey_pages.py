"""What is told of a journey's page is told of its own scene: contents, outcomes, and what an exchange is offered for it."""

import numpy as np
import pytest

from tests.envs.journey.conftest import SMALL
from tests.ranker.openrtb.house import in_house
from tribid.envs.platform import Platform
from tribid.envs.scenario import load_scenario
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.stages import stage_of
from tribid.ranker import Offer, Ranker, Request
from tribid.ranker.messages import Outcome

JOURNEY = load_scenario("journey").with_changes(**SMALL)


class ByStage:
    """Shows by stage, and counts how often it was asked."""

    def __init__(self):
        self.asked = 0

    def pick(self, seed, requests, stage):
        self.asked += 1
        return np.minimum(stage, 2).astype(np.int8)


def test_a_slots_content_is_what_the_platform_picks_for_the_users_stage_and_it_is_asked_once():
    picker = ByStage()
    ranker = Ranker(JOURNEY, "truthful", platform=Platform(content=picker))
    plain = ranker.rank(Request(request=1, user=1)).slots
    marks = {plain[0].advertiser: 1, plain[1].advertiser: 31}
    before = picker.asked
    told = ranker.rank(Request(request=1, user=1, marks=marks)).slots
    assert picker.asked == before + 1
    stage = {name: int(stage_of(np.array([mark], np.uint8))[0]) for name, mark in marks.items()}
    for slot in told:
        assert slot.content == CONTENTS[min(stage.get(slot.advertiser, 0), 2)]
    assert len({slot.content for slot in told}) > 1


def test_nobody_picks_a_content_without_a_picker_or_for_rates_that_are_brought():
    assert {slot.content for slot in Ranker(JOURNEY, "truthful").rank(Request(request=1, user=1)).slots} == {None}
    ranker = Ranker(JOURNEY, "truthful", platform=Platform(content=ByStage()))
    offers = tuple(Offer(name, pctr=0.1, pcvr=0.1) for name in ("adv_01", "adv_02"))
    assert {slot.content for slot in ranker.rank(Request(request=1, candidates=offers)).slots} == {None}


def test_the_scenarios_single_content_is_named():
    ranker = Ranker(JOURNEY.with_changes(world__contents__single="review"), "truthful")
    assert {slot.content for slot in ranker.rank(Request(request=1, user=1)).slots} == {"review"}


@pytest.mark.parametrize(("scene", "slots"), [("cart", 2), ("home", 3), (None, 3)])
def test_an_outcome_has_at_most_as_many_entries_as_the_scene_has_slots(scene, slots):
    ranker = Ranker(JOURNEY, "truthful")
    page = {"request": 1, "user": 1, "scene": scene, "category": 2}
    assert ranker.rank(Request(**page, outcome=Outcome(clicked=(True,) * slots))).slots
    with pytest.raises(ValueError, match=rf"\$.outcome.clicked has {slots + 1} entries; .* each of {slots} slots"):
        ranker.rank(Request(**page, outcome=Outcome(clicked=(True,) * (slots + 1))))
    with pytest.raises(ValueError, match=r"\$.scene is 'attic'"):
        ranker.rank(Request(request=1, user=1, scene="attic", outcome=Outcome(clicked=(True,))))


def test_an_exchange_is_offered_the_slots_of_the_scene_that_its_pages_are_in():
    scenes = [scene.model_dump() for scene in JOURNEY.world.scenes]
    scenes[0]["slot_effects"] = (0.6, 0.5)

    async def use(house):
        return house.bidder.desk.rules.slot_effects

    assert in_house(use, JOURNEY.with_changes(world__scenes=scenes)) == (0.6, 0.5)
    assert in_house(use) == load_scenario("tiny").rules.slot_effects
