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


class Effects:
    """The effects of one world; ``usual`` [2] (clicks, conversions) stands for the stages of pairs that are not known."""

    def __init__(self, config: JourneyWorld, categories: Categories) -> None:
        self._config, self._categories = config, categories
        self._scene = np.array([[scene.ctr, scene.cvr] for scene in config.scenes], np.float32).T.copy()
        self._stage = np.array([config.stages.ctr, config.stages.cvr], np.float32)
        fatigue, complements = config.fatigue, config.complements
        self._fatigue = np.array([fatigue.ctr, fatigue.cvr], np.float32)
        self._goes = np.array([complements.ctr, complements.cvr], np.float32)
        self._same = np.array([complements.own_ctr, complements.own_cvr], np.float32)
        self._content = (config.contents.click_table, config.contents.conversion_table)
        self.usual = np.zeros(2, np.float32)

    def mean_of(self, stages: NDArray[np.int8]) -> NDArray[np.float32]:
        """The mean effect [2] of the stages of some pairs."""
        share = np.bincount(stages.ravel(), minlength=self._stage.shape[1]) / stages.size
        return (self._stage @ share).astype(np.float32)

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
            out += self._stage[kind, requests.stage] if known.stages else self.usual[kind]
            if requests.content is not None:
                effect = self._content[kind][requests.content, requests.stage]
                out += np.where(requests.content >= 0, effect, np.float32(0.0))
        if requests.shown is not None and known.fatigue:
            out += self._fatigue[kind] * np.minimum(requests.shown, self._config.fatigue.most).astype(np.float32)
        if requests.bought is not None and known.complements:
            category = self._categories.category[who]
            out += self._goes[kind] * self._categories.goes_with[requests.bought[:, None], category]
            out += self._same[kind] * (requests.bought[:, None] == category)
        return out
