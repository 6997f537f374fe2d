import numpy as np
import pytest

from tribid.evaluation.off_policy import direct_method, dr, effective_sample_size, importance_weights, ips, snips

# Two actions, logged at .8 and .2, with mean rewards 1 and 3; the target takes both evenly: truth 2, ESS / N = .64.
REWARDS = np.array([1.0] * 8 + [3.0] * 2)
ACTIONS = np.array([0] * 8 + [1] * 2)
LOGGING = np.array([0.8] * 8 + [0.2] * 2)
TARGET = np.full(10, 0.5)
TARGET_TABLE = np.full((10, 2), 0.5)
TRUTH_TABLE = np.tile([1.0, 3.0], (10, 1))


def test_every_estimate_is_exact_on_the_log_that_equals_its_expectation() -> None:
    assert ips(REWARDS, LOGGING, TARGET) == pytest.approx(2.0, abs=1e-12)
    assert snips(REWARDS, LOGGING, TARGET) == pytest.approx(2.0, abs=1e-12)
    assert direct_method(TARGET_TABLE, TRUTH_TABLE) == 2.0
    assert dr(REWARDS, ACTIONS, LOGGING, TARGET_TABLE, TRUTH_TABLE) == pytest.approx(2.0, abs=1e-12)
    assert effective_sample_size(importance_weights(LOGGING, TARGET)) / 10 == pytest.approx(0.64, abs=1e-12)


def test_the_mean_of_the_log_is_not_the_answer() -> None:
    assert REWARDS.mean() == pytest.approx(1.4)


def test_dr_is_right_where_the_model_is_wrong_and_the_propensities_right() -> None:
    wrong = np.tile([7.0, -2.0], (10, 1))
    assert direct_method(TARGET_TABLE, wrong) == 2.5
    assert dr(REWARDS, ACTIONS, LOGGING, TARGET_TABLE, wrong) == pytest.approx(2.0, abs=1e-12)


def test_dr_is_right_where_the_propensities_are_wrong_and_the_model_right() -> None:
    wrong = np.full(10, 0.3)
    assert ips(REWARDS, wrong, TARGET) != pytest.approx(2.0, abs=0.1)
    assert dr(REWARDS, ACTIONS, wrong, TARGET_TABLE, TRUTH_TABLE) == pytest.approx(2.0, abs=1e-12)


def test_estimates_of_sampled_logs_centre_on_the_truth() -> None:
    rng = np.random.default_rng(0)
    estimates = []
    for _ in range(300):
        actions = (rng.random(400) < 0.2).astype(int)
        rewards = np.where(actions == 1, 3.0, 1.0) + rng.normal(size=400)
        logging = np.where(actions == 1, 0.2, 0.8)
        estimates.append((ips(rewards, logging, np.full(400, 0.5)), snips(rewards, logging, np.full(400, 0.5))))
    for mean, error in zip(np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(300), strict=True):
        assert abs(mean - 2.0) < 4 * error + 0.005


def test_snips_stays_within_the_rewards_where_ips_does_not() -> None:
    assert ips([1.0], [0.1], [1.0]) == pytest.approx(10.0)
    assert snips([1.0], [0.1], [1.0]) == 1.0


def test_the_logging_policy_itself_gives_the_mean_and_the_whole_sample() -> None:
    assert ips(REWARDS, LOGGING, LOGGING) == pytest.approx(REWARDS.mean())
    assert effective_sample_size(importance_weights(LOGGING, LOGGING)) == 10.0


@pytest.mark.parametrize(
    ("logging", "target", "message"),
    [
        ([0.0], [0.5], "above 0"),
        ([1.5], [0.5], "above 0"),
        ([0.5], [-0.1], "from 0 to 1"),
        ([0.5], [np.nan], "finite"),
        ([0.5, 0.5], [0.5], "one entry"),
        ([], [], "at least one"),
    ],
)
def test_impossible_probabilities_are_refused(logging: list[float], target: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        importance_weights(logging, target)


def test_a_log_that_says_nothing_about_the_target_is_refused() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        snips([1.0], [0.5], [0.0])


@pytest.mark.parametrize("actions", [[0] * 9, [2] * 10, [-1] * 10, [0.5] * 10])
def test_dr_refuses_actions_that_do_not_exist(actions: list[float]) -> None:
    with pytest.raises(ValueError, match="actions must be"):
        dr(REWARDS, actions, LOGGING, TARGET_TABLE, TRUTH_TABLE)


def test_tables_must_be_probabilities() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        direct_method([[0.5, 0.6]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="shapes"):
        direct_method([[0.5, 0.5]], [[1.0]])
