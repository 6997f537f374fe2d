from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tribid.envs.actions import Action
from tribid.models.actions.examples import DAY_MS, ActionExamples
from tribid.models.actions.features import LONGEST_DAYS
from tribid.models.actions.log import Happened, Listed
from tribid.models.actions.world import ActionWorld, ActionWorldRule


def test_the_examples_are_taken_with_the_true_propensities(world: ActionWorld, examples: ActionExamples) -> None:
    truth = world.chance(examples.features)[np.arange(len(examples.label)), examples.action]
    deviation = np.sqrt((truth * (1 - truth)).sum()) / len(truth)
    assert len(truth) > 3000 and abs(examples.label.mean() - truth.mean()) < 4 * deviation
    high = truth > np.median(truth)
    assert abs(examples.label[high].mean() - truth[high].mean()) < 6 * deviation


def test_the_log_keeps_the_rules(world: ActionWorld, records: list[Listed | Happened]) -> None:
    taken = {
        (one.user, one.action): one.time_ms for one in records if isinstance(one, Happened) and one.kind == "taken"
    }
    member = world.names.index("member")
    for one in records:
        if isinstance(one, Listed):
            assert len(one.actions) <= 3 and (one.features[member] == 0 or "join the club" not in one.actions)
            for action in ("get the app", "take the newsletter", "join the club"):
                if action in one.actions:
                    assert one.time_ms < taken.get((one.user, action), 2**60)


def test_every_taking_follows_a_view_within_the_period(records: list[Listed | Happened]) -> None:
    listings = {one.id: one for one in records if isinstance(one, Listed)}
    events = [one for one in records if isinstance(one, Happened)]
    kinds = Counter(one.kind for one in events)
    assert min(kinds.values()) > 300
    for one in events:
        assert one.listing in listings and one.action in listings[one.listing].actions
        assert 0 <= one.time_ms - listings[one.listing].time_ms < 14 * DAY_MS


def test_the_same_seed_gives_the_same_log_and_another_seed_another(world: ActionWorld) -> None:
    small = replace(world.rule, users=30, visits=60)
    one, other, third = (list(ActionWorld(small, seed).log()) for seed in (1, 1, 2))
    assert one == other != third


def test_features_are_of_the_kinds_that_they_are_named_for(world: ActionWorld) -> None:
    seen = dict(zip(world.names, world.features(np.arange(2000)).T, strict=True))
    shares = sum(seen[f"affinity_{one}"] for one in range(2))
    np.testing.assert_allclose(shares, 1.0, rtol=1e-5)
    assert set(np.unique(seen["member"])) == {0.0, 1.0}
    assert (seen["brands_loyal"] <= seen["brands_purchased"]).all()
    assert (seen["days_since_order"][seen["brands_purchased"] == 0] == LONGEST_DAYS).all()


def test_any_kind_of_action_has_a_propensity() -> None:
    world = ActionWorld(ActionWorldRule(categories=1), 0, (Action(name="fill in the survey", kind="survey"),))
    chance = world.chance(world.features(np.arange(100)))
    assert chance.shape == (100, 1) and 0 < chance.min() < chance.max() < 1


@pytest.mark.parametrize("change", [{"users": 0}, {"period_days": 60.0}, {"answered": 1.5}, {"delay_days": 0.0}])
def test_rules_that_are_not_allowed_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        ActionWorldRule(**change)  # type: ignore[arg-type]
