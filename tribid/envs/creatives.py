"""What each ad's creatives do to its click rate: visible style that all like, that each user likes, and the unseen. Ours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, normals
from tribid.envs.worlds import Creatives

_AD, _OWN, _LIKED, _TASTE = 0, 8, 16, 24


@dataclass(frozen=True)
class Looks:
    """A ads with C creatives and S style traits; effects are on the log-odds of a click.

    ``style`` [A, C, S] float32 is what a picture shows, standard normal; ``liked`` [S] unit length is the direction that
    all users like; ``taste`` [U, S] float32 each user's own weights; ``own`` [A, C] what no picture shows.
    """

    style: NDArray[np.float32]
    liked: NDArray[np.float32]
    taste: NDArray[np.float32]
    own: NDArray[np.float32]
    common: float

    @property
    def count(self) -> int:
        """C."""
        return int(self.style.shape[1])

    def effect(
        self, user: NDArray[np.int64], ad: NDArray[np.int64], creative: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """What creative c of ad i does to the log-odds for user u; the three broadcast to the answer's shape."""
        style = self.style[ad, creative]
        shared = (self.common * (self.style @ self.liked) + self.own)[ad, creative]  # one ad is rounded as many are
        effect: NDArray[np.float32] = (shared + (style * self.taste[user]).sum(axis=-1)).astype(np.float32)
        return effect


def looks_of(config: Creatives, seed: int, ads: int, users: int) -> Looks:
    """The creatives of a world's ads; a world's seed fixes them."""
    words = -(-config.styles // 4)

    def drawn(first: int, index: NDArray[np.int64], ad: int = 0) -> NDArray[np.float64]:
        rows = [normals(seed, Stream.CREATIVE, day=first + w, request=index, ad=ad) for w in range(words)]
        return np.hstack(rows)[:, : config.styles]

    index = np.arange(ads * config.count)
    liked = drawn(_LIKED, np.zeros(1, np.int64))[0]
    own = config.own * normals(seed, Stream.CREATIVE, day=_OWN, request=index)[:, 0]
    taste = config.taste / config.styles**0.5 * drawn(_TASTE, np.arange(users))
    return Looks(
        style=drawn(_AD, index).reshape(ads, config.count, -1).astype(np.float32),
        liked=(liked / np.linalg.norm(liked)).astype(np.float32),
        taste=taste.astype(np.float32),
        own=own.reshape(ads, config.count).astype(np.float32),
        common=config.common,
    )
