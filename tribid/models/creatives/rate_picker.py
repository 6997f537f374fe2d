"""A model of clicks that chooses creatives: the one of each ad whose click it thinks most likely for this user."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.platform import Requests
from tribid.envs.shop import Shop
from tribid.models.fitted import FittedModel
from tribid.models.forecaster import LearntForecaster


class RatePicker:
    """A market's ``CreativePicker`` around a fitted model of clicks that reads the ad's creative.

    It predicts every candidate once for each of the shop's C creatives, so that a request costs C predictions. Rates are
    compared as the model gives them: calibration keeps their order, but may set some equal. It explores nothing.
    """

    def __init__(self, shop: Shop, model: FittedModel) -> None:
        if "creative" not in model.features.config.columns("ad"):
            raise ValueError(
                f"the {model.model.kind} reads {', '.join(model.features.config.columns('ad'))} of an ad; "
                "a model that picks creatives must read 'creative'"
            )
        self._shop = shop
        self._forecaster = LearntForecaster(shop, click=FittedModel(model=model.model, features=model.features))

    def pick(self, seed: int, requests: Requests) -> NDArray[np.int8]:
        """The best creative of each candidate, int8 [B, N]; the lowest where several are equal, 0 for candidate -1."""
        who = self._shop.candidates_of(requests)
        each = [
            self._forecaster.learnt_rates(seed, requests._replace(creative=np.full(who.shape, one, np.int8)))["click"]
            for one in range(self._shop.looks.count)
        ]
        found: NDArray[np.int8] = np.where(who >= 0, np.argmax(each, axis=0), 0).astype(np.int8)
        return found
