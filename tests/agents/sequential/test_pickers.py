import numpy as np
import pytest

from tribid.agents.sequential.pickers import SingleContent, StageBandit, StageContentPicker
from tribid.envs.platform import ContentPicker, Requests
from tribid.envs.sequential.config import Contents


def asked(count: int, first: int = 0) -> Requests:
    number = np.arange(first, first + count)
    zeros = np.zeros(count, np.int64)
    return Requests(0, 0, number, zeros, zeros, zeros, zeros)


STAGES = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 0, 2, 2, 1]], np.int8)


@pytest.mark.parametrize("picker", [SingleContent("trial"), StageContentPicker(), StageBandit()])
def test_a_row_is_answered_alike_alone_and_in_a_batch(picker: ContentPicker) -> None:
    together = picker.pick(3, asked(3), STAGES)
    assert together.shape == STAGES.shape and together.dtype == np.int8
    for row in range(3):
        np.testing.assert_array_equal(picker.pick(3, asked(1, row), STAGES[row : row + 1])[0], together[row])


def test_a_table_shows_each_stage_its_content() -> None:
    assert StageContentPicker((2, 1, 0, 0, 1)).pick(0, asked(3), STAGES)[0].tolist() == [2, 1, 0, 0, 1]


@pytest.mark.parametrize("table", [(0, 1), (0, 1, 2, 3, 0), (0, 1, 2, 0.5, 0)])
def test_a_table_of_other_contents_or_stages_is_refused(table: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="by_stage is"):
        StageContentPicker(table)


def test_an_unknown_content_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="choose show, review, trial"):
        SingleContent("film")


def test_a_bandit_finds_the_content_that_suits_each_stage() -> None:
    rates = 0.1 + 0.2 * (1 / (1 + np.exp(-4 * Contents().click_table)) - 0.5)
    bandit, rng = StageBandit(), np.random.default_rng(0)
    stage = np.tile(np.arange(3), 200).reshape(-1, 1).astype(np.int8)
    for day in range(40):
        requests = asked(len(stage))._replace(day=day)
        content = bandit.pick(1, requests, stage)
        reward = rng.random(stage.shape) < rates[content, stage]
        bandit.learn(stage, content, reward.astype(float))
    assert bandit.table()[:3].tolist() == [0, 1, 2]
    shown = bandit.shown_[:3]
    assert (np.diag(shown) > 0.6 * shown.sum(axis=1)).all()  # exploration dies down
    assert StageBandit(explore=False).learn(stage, content, reward).pick(0, asked(600), stage).dtype == np.int8


def test_a_bandit_explores_where_it_knows_nothing_and_draws_anew_for_every_request_and_day() -> None:
    bandit = StageBandit().learn([0] * 9, [0, 1, 2] * 3, [0.0, 1.0, 0.0] * 3)
    stage = np.ones((300, 1), np.int8)
    picked = bandit.pick(5, asked(300), stage)
    assert (np.bincount(picked.ravel(), minlength=3) > 60).all()
    assert (picked != bandit.pick(5, asked(300)._replace(day=1), stage)).any()
    np.testing.assert_array_equal(picked, bandit.pick(5, asked(300), stage))


def test_rewards_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite rewards"):
        StageBandit().learn([0], [0], [np.nan])
