"""What Wide & Deep and DeepFM share: linear terms, embeddings, dense layers, and a history that is its mean."""

from collections.abc import Sequence
from typing import Any, ClassVar

from tribid.models.batch import Schema
from tribid.models.ctr.estimator import CtrModel, CtrNetwork, checked_activation, checked_sizes, checked_width
from tribid.models.ctr.logistic import LinearTerms
from tribid.models.ctr.tower import Tower, sides
from tribid.models.layers import Embeddings
from tribid.models.trainer import FitSettings


class PooledNetwork(CtrNetwork):
    """The parts; ``forward`` says how they meet. The tower takes the user's side with the history's mean, and the ad's."""

    def __init__(self, schema: Schema, width: int, hidden: Sequence[int], activation: str, seed: int) -> None:
        super().__init__(schema)
        self.linear = LinearTerms(schema)
        self.embeddings = Embeddings(schema, width, seed)
        user, ad = sides(schema, width)
        self.tower = Tower(user + len(schema.history) * width, ad, hidden, activation)


class PooledCtr(CtrModel):
    """Embeddings of ``width``, dense layers ``hidden`` with an ``activation``; ``network`` is what is made of them."""

    network: ClassVar[type[PooledNetwork]]

    def __init__(
        self,
        *,
        width: int = 8,
        hidden: Sequence[int] = (128, 64),
        activation: str = "relu",
        training: FitSettings | None = None,
    ) -> None:
        super().__init__(training=training)
        self.width, self.hidden = checked_width(width), checked_sizes("hidden", hidden)
        self.activation = checked_activation(activation)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON."""
        return {
            "width": self.width,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "training": self.training.model_dump(mode="json"),
        }

    def _network(self, schema: Schema) -> PooledNetwork:
        return self.network(schema, self.width, self.hidden, self.activation, self.training.seed)
