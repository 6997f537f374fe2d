"""Scenes decide which slots a page has; an answer says which content to show in each."""

import numpy as np
import pytest

from tests.envs.journey.conftest import SMALL
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.sequential.contents import CONTENTS
from tribid.ranker import Ranker, Request
from tribid.ranker.answer import Answers, Choice
from tribid.ranker.page import Page
from tribid.ranker.scenes import first_scene, rules_by_scene
from tribid.ranker.time_budget import TimeBudget

JOURNEY = load_scenario("journey").with_changes(**SMALL)


def test_every_scene_has_its_own_slots_and_the_scenarios_other_rules() -> None:
    found = rules_by_scene(JOURNEY)
    assert {name: rules.slot_effects for name, rules in found.items()} == {
        "home": (1.0, 0.7, 0.5), "guess": (1.0, 0.7, 0.5), "search": (1.0, 0.7), "cart": (0.8, 0.6), "paid": (0.9, 0.6),
        "logistics": (0.8, 0.5),
    }  # fmt: skip
    assert all(rules.model_copy(update={"slot_effects": (1.0, 0.7, 0.5)}) == JOURNEY.rules for rules in found.values())


def test_a_page_that_names_no_scene_is_in_the_first_that_needs_nothing() -> None:
    assert first_scene(JOURNEY) == "home"
    scenes = [{"name": "cart", "needs": "cart", "candidates": "cart"}, {"name": "late"}, {"name": "later"}]
    assert first_scene(JOURNEY.with_changes(world__scenes=scenes)) == "late"


@pytest.mark.parametrize("name", ["tiny", "shop"])
def test_a_scenario_without_scenes_has_one_set_of_rules(name: str) -> None:
    scenario = load_scenario(name)
    assert rules_by_scene(scenario) == {None: scenario.rules}
    assert first_scene(scenario) is None


def decided(scenario: Scenario) -> tuple[Page, Choice]:
    ranker, unlimited = Ranker(scenario, "truthful"), TimeBudget(None)
    page = ranker.pipeline.prepare(Request(request=1, user=1), 0, 0, unlimited)
    return page, Choice("own@1", *ranker.pipeline.decide(page, ranker.multipliers, ranker.left_micros, unlimited))


def test_an_answer_names_each_slots_content_where_some_was_picked() -> None:
    page, choice = decided(JOURNEY)
    answers = Answers(JOURNEY, tuple(f"adv_{n:02d}" for n in range(40)), 0, has_creatives=True)
    assert page.found.ads is not None
    assert [slot.content for slot in answers.decision(page, choice).slots] == [None] * 3
    for turn in range(3):
        page.content = ((np.arange(page.found.ads.shape[1]) + turn) % 3).astype(np.int8)[None]
        for slot in answers.decision(page, choice).slots:
            place = page.found.ads[0].tolist().index(slot.ad)
            assert slot.content == CONTENTS[(place + turn) % 3]
            assert slot.creative == 0
