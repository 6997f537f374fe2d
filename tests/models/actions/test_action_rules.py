from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs.actions import Action, Eligibility
from tribid.envs.stages import STAGES
from tribid.models.actions.examples import DAY_MS
from tribid.models.actions.rules import REASONS, ActionRules, Standing

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def why(action: Action, standing: Standing, at_ms: int = NOW_MS) -> str:
    return REASONS[int(ActionRules([action]).reasons(standing, at_ms)[0])]


def test_an_action_is_gone_at_the_millisecond_in_which_it_expires() -> None:
    action = Action(name="a", expires=NOW)
    assert why(action, Standing(), NOW_MS - 1) == ""
    assert why(action, Standing(), NOW_MS) == "it has expired"


@pytest.mark.parametrize(
    ("repeat", "days", "may"),
    [(0, 0, True), (1, 0.99, False), (1, 1, True), (30, 29.9, False), (30, 30, True), (None, 3650, False)],
)
def test_what_was_taken_comes_back_after_its_days_or_never(repeat: int | None, days: float, may: bool) -> None:
    taken = {"a": NOW_MS - round(days * DAY_MS)}
    assert (why(Action(name="a", repeat_days=repeat), Standing(taken=taken)) == "") == may
    assert why(Action(name="b", repeat_days=repeat), Standing(taken=taken)) == ""


def test_one_who_opted_out_gets_nothing() -> None:
    rules = ActionRules([Action(name="a"), Action(name="b", repeat_days=0)])
    assert rules.reasons(Standing(opted_out=True), NOW_MS).tolist() == [1, 1]


def test_a_stage_is_with_the_brand_or_else_the_highest() -> None:
    standing = Standing(stages={"adv_00": 1, "adv_01": 3})
    assert why(Action(name="a", eligibility=Eligibility(stage="purchased")), standing) == ""
    of_one = Action(name="a", eligibility=Eligibility(stage="purchased", brand="adv_00"))
    assert why(of_one, standing) == "the user's stage is too low"
    assert why(of_one, Standing()) == "the user's stage is too low"


TIMES = st.integers(NOW_MS - 60 * DAY_MS, NOW_MS + DAY_MS)
ACTIONS = st.builds(
    Action,
    name=st.just("a"),
    expires=st.none() | st.integers(-3, 3).map(lambda hours: NOW + timedelta(hours=hours)),
    repeat_days=st.none() | st.integers(0, 30),
    eligibility=st.builds(
        Eligibility,
        members=st.sampled_from(["all", "members", "others"]),
        stage=st.sampled_from(STAGES),
        brand=st.none() | st.sampled_from(["x", "y"]),
        has_ordered=st.none() | st.booleans(),
        min_days_known=st.floats(0, 50),
    ),
)
STANDINGS = st.builds(
    Standing,
    member=st.booleans(),
    stages=st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(0, 4)),
    ordered=st.booleans(),
    days_known=st.floats(0, 50),
    taken=st.dictionaries(st.sampled_from(["a", "b"]), TIMES),
    opted_out=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, STANDINGS)
def test_the_rules_are_those_that_a_person_would_check_one_by_one(action: Action, standing: Standing) -> None:
    wanted = action.eligibility
    stage = standing.stages.get(wanted.brand, 0) if wanted.brand else max(standing.stages.values(), default=0)
    taken = standing.taken.get("a")
    waits = taken is not None and (action.repeat_days is None or max(NOW_MS - taken, 0) < action.repeat_days * DAY_MS)
    may = not (
        standing.opted_out
        or (action.expires is not None and action.expires <= NOW)
        or waits
        or (wanted.members == "members" and not standing.member)
        or (wanted.members == "others" and standing.member)
        or stage < STAGES.index(wanted.stage)
        or (wanted.has_ordered is not None and wanted.has_ordered != standing.ordered)
        or standing.days_known < wanted.min_days_known
    )
    assert (why(action, standing) == "") == may


@settings(max_examples=50, deadline=None)
@given(st.lists(ACTIONS, min_size=2, max_size=6), STANDINGS)
def test_each_action_is_judged_by_its_own_rules_alone(actions: list[Action], standing: Standing) -> None:
    named = [action.model_copy(update={"name": f"a{place}"}) for place, action in enumerate(actions)]
    together = ActionRules(named).reasons(standing, NOW_MS)
    apart = [ActionRules([action]).reasons(standing, NOW_MS)[0] for action in named]
    np.testing.assert_array_equal(together, apart)
