"""DeepFM (Guo et al. 2017): a factorisation machine and dense layers over the same embeddings."""

import torch
from torch import Tensor

from tribid.models.ctr.pooled import PooledCtr, PooledNetwork
from tribid.models.layers import Tensors, mean_pool


class DeepFmNetwork(PooledNetwork):
    """Linear terms, all pairs of fields, and a deep part, added. A history's field is one vector, its mean."""

    def forward(self, t: Tensors) -> Tensor:
        """The log-odds of a click, [B, N]."""
        past = mean_pool(self.embeddings.history(t), t.history_mask())
        of_request = torch.cat([self.embeddings.user(t), past], dim=-1)
        of_ad = self.embeddings.ad(t)
        deep = self.tower(
            torch.cat([of_request, self.numbers.user(t)], dim=-1), torch.cat([of_ad, self.numbers.ad(t)], dim=-1)
        )
        pairs = all_pairs(_fields(of_request, self.embeddings.width), _fields(of_ad, self.embeddings.width))
        total: Tensor = self.linear(t, self.numbers) + pairs + deep + self.bias
        return total


def all_pairs(shared: Tensor, each: Tensor) -> Tensor:
    """The sum over pairs i < j of the inner product of fields i and j (Rendle 2010), [B, N].

    ``shared`` [B, F, width] are fields of the request, ``each`` [B, N, G, width] those of a candidate. Computed as
    ``(|sum v|^2 - sum |v|^2) / 2``.

    >>> all_pairs(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[[3.0]]]])).tolist()  # 1 * 2 + 1 * 3 + 2 * 3
    [[11.0]]
    """
    total = shared.sum(1)[:, None] + each.sum(2)
    squares = shared.square().sum((1, 2))[:, None] + each.square().sum((2, 3))
    return 0.5 * (total.square().sum(-1) - squares)


def _fields(side_by_side: Tensor, width: int) -> Tensor:
    return side_by_side.reshape(*side_by_side.shape[:-1], side_by_side.shape[-1] // width, width)


class DeepFm(PooledCtr):
    """Embeddings of ``width`` that meet pairwise and go through dense layers ``hidden``; the history is averaged.

    Numbers take part in the linear terms and the dense layers, not in the pairs.
    """

    kind = "deepfm"
    network = DeepFmNetwork
