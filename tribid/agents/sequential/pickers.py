"""Which content each candidate of a request is shown with, for the auction world: by stage, always the same, or learnt.

A picker sees the requests and the stage [B, N] of each consumer with each candidate's brand, and answers an index of
``CONTENTS`` [B, N]. A row's answer depends on that row alone. They are ``tribid.envs.platform.ContentPicker``s.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.chance import Stream, normals
from tribid.envs.platform import Requests
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.stages import STAGES

Stage = NDArray[np.int8]

_PICKS = 2**31
"""The word of the counter beside a request's index, which no world of journeys uses."""


class SingleContent:
    """The same content for everybody.

    >>> SingleContent("review").pick(0, None, np.zeros((1, 2), np.int8)).tolist()
    [[1, 1]]
    """

    def __init__(self, content: str) -> None:
        if content not in CONTENTS:
            raise ValueError(f"no content named {content!r}; choose {', '.join(CONTENTS)}")
        self.content = CONTENTS.index(content)

    def pick(self, seed: int, requests: Requests | None, stage: Stage) -> NDArray[np.int8]:
        """That content."""
        return np.full(np.shape(stage), self.content, np.int8)


class StageContentPicker:
    """The content of a table ``by_stage`` [5]; left out, show the unaware, review the aware, trial from interest on.

    >>> StageContentPicker().pick(0, None, np.array([[0, 1, 2, 3, 4]], np.int8)).tolist()
    [[0, 1, 2, 2, 2]]
    """

    def __init__(self, by_stage: ArrayLike = (0, 1, 2, 2, 2)) -> None:
        table = np.asarray(by_stage)
        if table.shape != (len(STAGES),) or not np.isin(table, np.arange(len(CONTENTS))).all():
            raise ValueError(
                f"by_stage is {table.tolist()}; allowed is one of 0 to {len(CONTENTS) - 1} for each of {', '.join(STAGES)}"
            )
        self.by_stage = table.astype(np.int8)

    def pick(self, seed: int, requests: Requests | None, stage: Stage) -> NDArray[np.int8]:
        """The table's content for each stage."""
        return self.by_stage[stage]


class StageBandit:
    """Learns what each content earns at each stage, and explores: a contextual bandit whose context is the stage.

    It draws an exposure's earnings for each content from what it believes and shows the highest (Thompson sampling for a
    normal mean: Agrawal and Goyal, 2013), or with ``explore=False`` shows the highest mean. ``prior`` counts as so many
    exposures that earned ``guess`` (unit of the rewards). Its draws depend on (seed, day, request) alone: what a batch holds
    besides changes no row.
    """

    def __init__(self, *, prior: float = 50.0, guess: float = 0.0, explore: bool = True) -> None:
        if not prior > 0 or not np.isfinite(guess):
            raise ValueError(f"prior is {prior}, guess {guess}; allowed are above 0 exposures and a finite number")
        self.prior, self.guess, self.explore = prior, guess, explore
        self.shown_ = np.zeros((len(STAGES), len(CONTENTS)))
        self.earned_ = np.zeros_like(self.shown_)
        self.squares_ = np.zeros_like(self.shown_)

    def learn(self, stage: ArrayLike, content: ArrayLike, reward: ArrayLike) -> "StageBandit":
        """Take in exposures: the stage each met, the content shown, and what it earned, all [n]."""
        stages, contents, rewards = (np.asarray(given) for given in (stage, content, reward))
        if not stages.shape == contents.shape == rewards.shape or not np.isfinite(rewards).all():
            raise ValueError(
                f"stage, content and reward have shapes {stages.shape}, {contents.shape}, {rewards.shape}; allowed is one "
                f"shape, with finite rewards"
            )
        np.add.at(self.shown_, (stages, contents), 1.0)
        np.add.at(self.earned_, (stages, contents), rewards)
        np.add.at(self.squares_, (stages, contents), np.square(rewards))
        return self

    @property
    def mean_(self) -> NDArray[np.float64]:
        """What an exposure is believed to earn, [5, 3]."""
        return (self.earned_ + self.prior * self.guess) / (self.shown_ + self.prior)

    @property
    def error_(self) -> NDArray[np.float64]:
        """The standard error of that belief, [5, 3]; where little was seen, from the spread over all exposures."""
        count = self.shown_ + self.prior
        total = max(1.0, self.shown_.sum())
        overall = max(self.squares_.sum() / total - (self.earned_.sum() / total) ** 2, 1e-12)
        within = self.squares_ - np.square(self.earned_) / np.maximum(self.shown_, 1.0)
        error: NDArray[np.float64] = np.sqrt((within + self.prior * overall) / count / count)
        return error

    def table(self) -> NDArray[np.int8]:
        """The content of the highest mean at each stage, [5]."""
        best: NDArray[np.int8] = self.mean_.argmax(axis=1).astype(np.int8)
        return best

    def pick(self, seed: int, requests: Requests, stage: Stage) -> NDArray[np.int8]:
        """A content for each candidate; all candidates of a request are drawn for alike."""
        if not self.explore:
            return self.table()[stage]
        drawn = normals(seed, Stream.CONSUMER, requests.day, requests.request, _PICKS)[:, : len(CONTENTS)]
        believed = self.mean_[stage] + self.error_[stage] * drawn[:, None, :]
        picked: NDArray[np.int8] = believed.argmax(axis=2).astype(np.int8)
        return picked
