"""Wide & Deep (Cheng et al. 2016): linear terms and crosses that memorise, dense layers that generalise, learnt together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tribid.models.batch import Schema
from tribid.models.ctr.pooled import PooledCtr, PooledNetwork
from tribid.models.ctr.tower import ad_side, user_side
from tribid.models.layers import Tensors, mean_pool


class Crosses(nn.Module):
    """The cross products "the ad's value is in the history", one weight for each field that both have.

    The cross counts: ``log(1 + events of that value)``. One weight serves all values of a field, as a weight for each
    pair of ids would rarely be seen.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        ads = [field.name for field in schema.ad]
        self._pairs = [(i, ads.index(name)) for i, name in enumerate(schema.targets) if name]
        self.weight = nn.Parameter(torch.zeros(len(self._pairs)))

    def forward(self, t: Tensors) -> Tensor:
        """Their sum, [B, N]."""
        real = t.history_mask()[:, :, None]
        total = torch.zeros(t.ad_ids.shape[:2])
        for weight, (past, present) in zip(self.weight, self._pairs, strict=True):
            same = (t.history_ids[:, :, None, past] == t.ad_ids[:, None, :, present]) & real
            total = total + weight * same.sum(1).to(torch.float32).log1p()
        return total


class WideDeepNetwork(PooledNetwork):
    """Wide part and deep part, added."""

    def __init__(self, schema: Schema, width: int, hidden: Sequence[int], activation: str, seed: int) -> None:
        super().__init__(schema, width, hidden, activation, seed)
        self.crosses = Crosses(schema)

    def forward(self, t: Tensors) -> Tensor:
        """The log-odds of a click, [B, N]."""
        past = mean_pool(self.embeddings.history(t), t.history_mask())
        shared = torch.cat([user_side(self.embeddings, self.numbers, t), past], dim=-1)
        deep = self.tower(shared, ad_side(self.embeddings, self.numbers, t))
        total: Tensor = self.linear(t, self.numbers) + self.crosses(t) + deep + self.bias
        return total


class WideDeep(PooledCtr):
    """Embeddings of ``width`` through dense layers ``hidden``, plus a linear part; the history is averaged.

    The average is the same for every candidate: the interests that do not concern an ad dilute the one that does.
    """

    kind = "wide_deep"
    network = WideDeepNetwork
