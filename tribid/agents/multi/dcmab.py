"""DCMAB: merchant clusters that learn with critics of the whole market, and act on their own observation alone.

Jin, Song, Li, Gai, Wang and Zhang, "Real-time bidding with multi-agent reinforcement learning in display advertising"
(CIKM 2018): the critic of cluster i is ``Q_i(s, a_1, ..., a_N, d)`` with all clusters' actions and the distribution d over
consumer clusters for which they are executed.

What is the paper's and what is the market's:

* One action per consumer cluster and tick (``rules.segments: cluster``); the paper's period is an hour, so a day of
  hourly ticks; its episode of three hours is ``world.traffic.ticks: 3``.
* A merchant's bid is ``bid * (1 + clip(a * bratio, -0.9, 0.9))`` in the paper, bratio being the request's predicted
  conversion rate over the merchant's mean. Here the bid is ``(1 + 0.9 a) * unit bid of the request`` with a in [-1, 1],
  the same range of 0.1 to 1.9. For ``bid_form: value`` the unit bid is the base bid times bratio, for ``flat`` the base
  bid. At bratio 1 both are the paper's bid exactly. Elsewhere they differ: the paper scales the adjustment by bratio and
  cuts it request by request, so that a = 0 is a flat bid; the form ``value`` scales the whole bid, also at a = 0.
* The paper's state holds costs and revenues of all clusters; an actor here sees what the market tells each advertiser of
  itself (``tribid.envs.observation``), and only critics see all clusters.
* Advertisers of a cluster share the actor, not the action: each is asked with its own observation.
* Budgets are those of the scenario; ``tribid.agents.multi.budgets.paper_budgets`` sets the paper's.
"""

import torch
from torch import Tensor

from tribid.agents.multi.ddpg import DdpgClassroom, Scene


class DcmabClassroom(DdpgClassroom):
    """DDPG whose critics see every cluster's observation and action and the consumers' distribution; actors as before.

    ``scenario.reward.part`` says what a cluster is paid: ``own`` for self-interest, ``total`` for coordination.
    """

    def view_size(self) -> int:
        """N * (D + S) + S."""
        space = self.roster.space
        return len(self.clusters) * (space.observation_size + space.segments) + space.segments

    def view(self, scene: Scene, cluster: int) -> Tensor:
        """The same for every cluster's critic, [B, V]."""
        return torch.cat([scene.observations.flatten(1), scene.scale.flatten(1), scene.shares], dim=-1)
