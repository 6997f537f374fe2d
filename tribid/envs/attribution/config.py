"""What a scenario says of attribution: which rule credits orders, how far back, and which channels a bidder is paid for."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tribid.envs.attribution.paths import LOOKBACK_HOURS
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.worlds import Part


class Attribution(Part):
    """How the reward part ``attributed`` credits conversions; see ``tribid.envs.attribution.credit`` for the rules."""

    method: Literal["first", "last", "linear", "time_decay", "position", "shapley", "shapley_rate"] = "linear"
    lookback_hours: float = Field(LOOKBACK_HOURS, gt=0, le=24 * 366, allow_inf_nan=False)
    paid: tuple[Annotated[int, Field(ge=0, le=3)], ...] = Field(
        (0, 1), min_length=1, description="channels whose credit counts, by name or place in CHANNELS: feed and search"
    )

    @field_validator("paid", mode="before")
    @classmethod
    def _places_of_names(cls, paid: Any) -> Any:
        """Channels by name become their places, so that both ways of writing them are one scenario with one hash."""
        if not isinstance(paid, (list, tuple)):
            return paid
        unknown = [one for one in paid if isinstance(one, str) and one not in CHANNELS]
        if unknown:
            raise ValueError(
                f"paid holds {unknown[0]!r:.60}; allowed are {', '.join(CHANNELS)}, or their places, 0 to 3"
            )
        return tuple(CHANNELS.index(one) if isinstance(one, str) else one for one in paid)

    @model_validator(mode="after")
    def _each_channel_once(self) -> "Attribution":
        if len(set(self.paid)) < len(self.paid):
            raise ValueError(f"paid is {list(self.paid)}; allowed is each channel once")
        return self
