import numpy as np
import pytest

from tribid.envs.attribution.control_group import held_out
from tribid.evaluation.lift import lift, lift_by


def users(rng: np.random.Generator, count: int, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A skewed measure of users before and after; what a user has lasts, and the effect adds to it."""
    lasting = rng.gamma(2.0, 10.0, count)
    before, after = lasting + rng.normal(0, 5.0, count), lasting + rng.normal(0, 5.0, count)
    return before, after + effect


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("effect", [0.0, 4.0])
def test_welchs_intervals_hold_the_truth_as_often_as_they_say(paired, effect):
    rng, held, held_ratio, trials = np.random.default_rng(4), 0, 0, 600
    for _ in range(trials):
        (tb, ta), (cb, ca) = users(rng, 90, effect), users(rng, 60)
        told = lift(ta, ca, **({"treated_before": tb, "control_before": cb} if paired else {}))
        held += told.difference.low <= effect <= told.difference.high
        held_ratio += told.relative.low <= effect / 20.0 <= told.relative.high
    assert 0.925 <= held / trials <= 0.975  # 0.95, and nearly three standard errors of 600 trials
    assert 0.915 <= held_ratio / trials <= 0.985


def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say():
    rng, held, trials = np.random.default_rng(5), 0, 300
    for trial in range(trials):
        (_, ta), (_, ca) = users(rng, 90, 4.0), users(rng, 60)
        told = lift(ta, ca, interval="bootstrap", resamples=400, seed=trial)
        held += told.difference.low <= 4.0 <= told.difference.high
    assert 0.905 <= held / trials <= 0.985


def test_no_effect_gives_lifts_around_zero():
    rng = np.random.default_rng(6)
    found = [lift(users(rng, 200)[1], users(rng, 200)[1]).difference.point for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_difference_in_differences_takes_out_what_the_groups_differed_in_before_and_most_of_the_spread():
    rng = np.random.default_rng(7)
    (tb, ta), (cb, ca) = users(rng, 2000, 3.0), users(rng, 2000)
    tb, ta = tb + 6.0, ta + 6.0  # the treated were ahead already
    plain, paired = lift(ta, ca), lift(ta, ca, treated_before=tb, control_before=cb)
    assert plain.difference.low > 6.0
    assert paired.difference.low < 3.0 < paired.difference.high
    assert paired.difference.high - paired.difference.low < 0.6 * (plain.difference.high - plain.difference.low)
    assert paired.relative.point == pytest.approx(paired.difference.point / (ta.mean() - paired.difference.point))


def test_a_campaign_left_out_for_users_of_a_hash_is_measured_on_them():
    rng, everybody = np.random.default_rng(8), np.arange(6000)
    treated = ~held_out(everybody, share=0.3, salt="spring")
    before, after = users(rng, 6000)
    after = after + 2.0 * treated
    told = lift(after[treated], after[~treated], treated_before=before[treated], control_before=before[~treated])
    assert told.difference.low < 2.0 < told.difference.high and told.difference.low > 1.0
    assert (told.treated_users, told.control_users) == (treated.sum(), 6000 - treated.sum())


def test_groups_under_fifty_users_are_hidden():
    rng = np.random.default_rng(9)
    with pytest.raises(ValueError, match="there are 49 control users; allowed are 50 or more, fewer are hidden"):
        lift(rng.random(80), rng.random(49))
    value, treated = rng.random(320), np.tile([True, False], 160)
    group = np.repeat(["large", "small"], [222, 98])
    told = lift_by(value, treated, group)
    assert told["small"] is None and told["large"].treated_users == 111
    assert set(told) == {"large", "small"}


def test_lift_within_a_group_is_that_of_its_users_alone():
    rng = np.random.default_rng(10)
    value, before = rng.random(400), rng.random(400)
    treated, group = rng.random(400) < 0.5, np.arange(400) % 2
    told, own = lift_by(value, treated, group, before=before), group == 1
    assert told[1] == lift(
        value[own & treated], value[own & ~treated], treated_before=before[own & treated],
        control_before=before[own & ~treated],
    )  # fmt: skip


def test_a_relative_lift_over_nothing_is_not_told():
    told = lift(np.ones(50), np.zeros(50))
    assert told.relative is None and told.difference.point == 1.0
    assert lift(np.ones(50), np.zeros(50), interval="bootstrap").relative is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"confidence": 1.0}, r"confidence is 1\.0"),
        ({"interval": "exact"}, "interval is 'exact'; choose welch, bootstrap"),
        ({"treated_before": np.ones(60)}, "given of one group only"),
        ({"control": np.full(60, np.nan)}, "control holds nan; allowed are finite numbers"),
        ({"treated_before": np.ones(9), "control_before": np.ones(60)}, "allowed is one number for each user"),
        ({"interval": "bootstrap", "resamples": 0}, "resamples is 0"),
        ({"interval": "bootstrap", "resamples": "x"}, "resamples is 'x'; allowed is a whole number from 1"),
        ({"confidence": "x"}, "confidence is 'x'; allowed is above 0 and below 1"),
        ({"seed": "x"}, "seed is 'x'; allowed is a whole number from 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(changed, told):
    with pytest.raises(ValueError, match=told):
        lift(**({"treated": np.ones(60), "control": np.ones(60)} | changed))
