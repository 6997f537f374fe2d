"""Pages of search results and what was clicked on them: what weights are learnt from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.search.scene import SearchScene
from tribid.envs.search.truth import Searches, feedback

Floats = NDArray[np.float64]

_SHUFFLED = 2**30
"""Where the "ads" of the shuffling begin, beyond all items: its draws are those of the day, but no feedback's."""


@dataclass(frozen=True)
class ClickLog:
    """L pages of K places: ``features`` [L, K, F], what was ``clicked`` and ``ordered``, and whether one is ``there``."""

    features: Floats
    clicked: NDArray[np.bool_]
    ordered: NDArray[np.bool_]
    there: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.features.ndim != 3:
            raise ValueError(f"features have shape {self.features.shape}; allowed is [pages, places, factors]")
        if not np.isfinite(self.features).all():
            wrong = self.features[~np.isfinite(self.features)][0]
            raise ValueError(f"features hold {wrong}; allowed are finite numbers")
        for name in ("clicked", "ordered", "there"):
            if getattr(self, name).shape != self.features.shape[:2]:
                shape = getattr(self, name).shape
                raise ValueError(f"{name} has shape {shape}; allowed is that of the pages, {self.features.shape[:2]}")
        if (self.clicked & ~self.there).any() or (self.ordered & ~self.clicked).any():
            raise ValueError(
                "clicked or ordered marks a place without item or click; allowed is ordered, clicked, there"
            )


def collect(
    scene: SearchScene, searches: Searches, *, weights: ArrayLike | None = None, shuffled: bool = False
) -> ClickLog:
    """What people do with the pages that a scene shows by ``weights`` (its own), each in random order if ``shuffled``.

    Shuffled pages say how much of a click is the place alone (``attention``).
    """
    shown = scene.organic(searches, weights).items
    if shuffled:
        item = _SHUFFLED + np.maximum(shown, 0)
        draw = uniforms(searches.seed, Stream.SEARCH, searches.day, request=searches.request[:, None], ad=item)
        shown = np.take_along_axis(shown, np.lexsort((draw[..., 0], shown < 0), axis=1), axis=1)
    done = feedback(scene.world, searches, shown, scene.rates(searches, shown))
    return ClickLog(scene.features(searches, shown), done.clicked, done.ordered, shown >= 0)


def attention(log: ClickLog) -> Floats:
    """How much each place [K] is looked at, the first as 1: clicks per item of pages whose order is random.

    On shuffled pages every place has the same items on average, so clicks differ by the place alone (Joachims, Swaminathan,
    Schnabel, "Unbiased Learning-to-Rank with Biased Feedback", WSDM 2017). One click is added to each place, and attention
    never rises downwards. ``ValueError`` where nothing was clicked.
    """
    if not log.clicked.any():
        raise ValueError("clicked is false everywhere; attention needs pages with clicks")
    rate = (log.clicked.sum(axis=0) + 1.0) / (log.there.sum(axis=0) + 1.0)
    return np.minimum.accumulate(rate / rate[0])
