"""Self-play: a learning policy meets policies that it has been, kept as they were.

Drawing opponents uniformly from earlier versions, rather than the latest alone, keeps a policy from forgetting what beat
the older ones (Heinrich, Lanctot and Silver, "Fictitious self-play in extensive-form games", ICML 2015; Bansal et al.,
"Emergent complexity via multi-agent competition", ICLR 2018).
"""

from collections.abc import Sequence

import numpy as np

from tribid.agents.bidder import Bidder, Lineup
from tribid.agents.networks.card import ServedPolicy
from tribid.envs.chance import Stream, uniforms


class League:
    """The latest ``most`` snapshots of one learning policy, each by the round that it was taken after; none ever changes.

    ``which`` is the policy's place among those of a training: every league draws numbers of its own.
    """

    def __init__(self, most: int, *, seed: int, which: int = 0) -> None:
        self.snapshots: dict[int, ServedPolicy] = {}
        self._most, self._seed, self._which = most, seed, which

    def add(self, after: int, snapshot: ServedPolicy) -> None:
        """Keep what a policy was after a round; where there are too many, the oldest goes."""
        self.snapshots[after] = snapshot
        while len(self.snapshots) > self._most:
            del self.snapshots[min(self.snapshots)]

    def draw(self, round_: int, places: Sequence[int]) -> tuple[int, ...]:
        """For each place the round whose snapshot sits there in this round, uniform over what is kept.

        Which of the kept ones depends on seed, round and place alone, so not on what was drawn before.
        """
        kept = sorted(self.snapshots)
        draws = uniforms(self._seed, Stream.POLICY, day=round_, request=np.asarray(places, np.int64), ad=self._which)
        return tuple(kept[int(draw * len(kept))] for draw in draws[:, 0])

    def seated(self, rivals: Lineup, round_: int, places: Sequence[int]) -> Lineup:
        """``rivals`` with a drawn snapshot at each of the places; as they are while the league is empty."""
        if not self.snapshots:
            return rivals
        bidders: dict[str, Bidder] = dict(rivals.bidders)
        drivers = list(rivals.mapping)
        for place, after in zip(places, self.draw(round_, places), strict=True):
            name = f"snapshot after round {after}"
            bidders[name] = self.snapshots[after]
            drivers[place] = name
        return Lineup(bidders, drivers)


def league_places(learners: Sequence[int], advertisers: int) -> tuple[int, ...]:
    """The places that snapshots take: every second advertiser that does not learn, from the first on.

    The others keep the plan's rivals, so that a policy that learns to beat itself does not lose sight of the rest.

    >>> league_places((0, 2), 8)
    (1, 4, 6)
    """
    return tuple(who for who in range(advertisers) if who not in set(learners))[::2]
