"""What a journey adds to the log-odds of clicks and conversions: scene, stage, fatigue, complements, content. Ours."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.journey.categories import Categories
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.platform import Requests

CTR, CVR = 0, 1


class Known(NamedTuple):
    """Which effects count: all of them in the truth, those that a platform knows of in its predictions."""

    stages: bool = True
    fatigue: bool = True
    complements: bool = True


EVERYTHING = Known()


def shifted(rate: NDArray[np.float64] | float, effect: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Rates whose log-odds are moved.

    >>> float(shifted(0.5, 0.0)), round(float(shifted(0.5, 1.0986123)), 4)
    (0.5, 0.75)
    """
    odds = rate * np.exp(effect)
    return np.asarray(odds / (1.0 - rate + odds))


class Effects:
    """The effects of one world.

    ``usual`` [2, 4] stands for the stages of pairs that are not known: what a stage does to clicks and to conversions (rows)
    by itself, and what each of the three contents does, over the stages as they are at a day's start.
    """

    def __init__(self, config: JourneyWorld, categories: Categories) -> None:
        self._config, self._categories = config, categories
        self._scene = np.array([[scene.ctr, scene.cvr] for scene in config.scenes], np.float32).T.copy()
        self._stage = np.array([config.stages.ctr, config.stages.cvr], np.float32)
        fatigue, complements = config.fatigue, config.complements
        self._fatigue = np.array([fatigue.ctr, fatigue.cvr], np.float32)
        self._goes = np.array([complements.ctr, complements.cvr], np.float32)
        self._same = np.array([complements.own_ctr, complements.own_cvr], np.float32)
        self._content = (config.contents.click_table, config.contents.conversion_table)
        self.usual = np.zeros((2, 1 + len(config.contents.click)), np.float32)

    def mean_of(self, stages: NDArray[np.int8]) -> NDArray[np.float32]:
        """The mean effects [2, 4] over the stages of some pairs, as in ``usual``."""
        share = np.bincount(stages.ravel(), minlength=self._stage.shape[1]) / stages.size
        by_stage = np.concatenate([self._stage[:, None, :], np.stack(self._content)], axis=1)
        return (by_stage @ share).astype(np.float32)

    def of(
        self, requests: Requests, who: NDArray[np.int32], kind: int, known: Known = EVERYTHING
    ) -> NDArray[np.float32]:
        """The sum [B, N] for the candidates ``who``, of clicks (``CTR``) or of conversions (``CVR``).

        Columns that the requests do not have (None) add nothing: no scene, strangers, first exposures, no order.
        """
        out = np.zeros(who.shape, np.float32)
        if requests.scene is not None:
            out += self._scene[kind, requests.scene][:, None]
        if requests.stage is not None:
            content = requests.content
            out += self._stage[kind, requests.stage] if known.stages else self.usual[kind, 0]
            if content is not None:
                by_stage, usual = self._content[kind], self.usual[kind, 1:]
                effect = by_stage[content, requests.stage] if known.stages else usual[content]
                out += np.where(content >= 0, effect, np.float32(0.0))
        if requests.shown is not None and known.fatigue:
            out += self._fatigue[kind] * np.minimum(requests.shown, self._config.fatigue.most).astype(np.float32)
        if requests.bought is not None and known.complements:
            category = self._categories.category[who]
            out += self._goes[kind] * self._categories.goes_with[requests.bought[:, None], category]
            out += self._same[kind] * (requests.bought[:, None] == category)
        return out
