"""What a policy file says of itself: the JSON card beside the weights, validated field by field."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tribid.agents.networks.adjusting import AdjustingCard
from tribid.agents.networks.bcq import BcqCard
from tribid.agents.networks.diffusion import DiffusionCard
from tribid.agents.networks.discrete import DiscreteCard
from tribid.agents.networks.lstm import LstmCard
from tribid.agents.networks.mlp import MlpCard
from tribid.agents.networks.scaled import ScaledCard
from tribid.agents.networks.transformer import TransformerCard
from tribid.agents.plain_file import parse_json, read_plain
from tribid.envs.observation import fields

MAX_CARD_BYTES = 1 << 20

Name = Annotated[str, Field(min_length=1, max_length=80)]
Count = Annotated[int, Field(ge=0, lt=2**63)]

Network = Annotated[
    MlpCard | LstmCard | DiscreteCard | ScaledCard | TransformerCard | DiffusionCard | AdjustingCard | BcqCard,
    Field(discriminator="kind"),
]
"""The kinds of networks that a policy file may hold, told apart by ``kind``."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ObservedField(_Part):
    """One number of the observation that the policy was trained on: its name and bounds."""

    name: Name
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)


class TrainedIn(_Part):
    """The scenario of the training."""

    name: Name
    hash: str = Field(pattern="^[0-9a-f]{16}$")


class Training(_Part):
    """How the policy was trained."""

    algorithm: Name = "none"
    seed: Count = 0
    steps: Count = 0
    rivals: tuple[Name, ...] = Field((), max_length=1000)
    interrupted: bool = False


class PolicyCard(_Part):
    """Everything about a policy but its numbers.

    ``network`` describes the kind of network and its sizes; ``segments``, ``max_multiplier`` and ``ticks`` those of the
    scenario: the action map is ``tribid.envs.action`` with that cap. ``weights_sha256`` names the bytes of the safetensors
    file, so that a card never goes with other weights.
    """

    format: Literal["tribid-policy"] = "tribid-policy"
    version: Literal[2] = 2
    name: Name
    tribid_version: Name
    scenario: TrainedIn
    training: Training = Training()
    observation: tuple[ObservedField, ...] = Field(min_length=1, max_length=4096)
    segments: int = Field(ge=1, le=64)
    max_multiplier: float = Field(gt=1, le=1e4, allow_inf_nan=False)
    ticks: int = Field(ge=1, le=10_000)
    network: Network
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")

    def check_observation(self, source: str) -> None:
        """Raise ``ValueError`` where the running code's observation is not the one of the training."""
        now = tuple(ObservedField(name=f.name, low=float(f.low), high=float(f.high)) for f in fields(self.segments))
        for index, (trained, runs) in enumerate(zip(self.observation, now, strict=False)):
            if trained != runs:
                raise ValueError(
                    f"{source}: observation[{index}] is {trained!r}; allowed is {runs!r}, as this code observes"
                )
        if len(self.observation) != len(now):
            raise ValueError(f"{source}: observation has {len(self.observation)} fields; allowed are {len(now)}")


def read_card(path: Path) -> PolicyCard:
    """The card in a JSON file; ``ValueError`` names the first bad field, its value and what is allowed."""
    content = read_json(path)
    try:
        # JSON mode: a list is the way in which JSON writes a tuple.
        return PolicyCard.model_validate_json(json.dumps(content))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(step) for step in detail["loc"]) or "card"
        given = "missing" if detail["type"] == "missing" else f"{detail['input']!r:.80}"
        what = detail["msg"].removeprefix("Value error, ")
        raise ValueError(f"{path}: {where} is {given}; not allowed: {what}") from None


def read_json(path: Path) -> Any:
    """A small JSON file's content; ``ValueError`` where it is missing, a link, too large, or not JSON."""
    return parse_json(read_plain(path, MAX_CARD_BYTES), str(path))
