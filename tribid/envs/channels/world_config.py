"""The multi-channel world as a configuration: consumers, brands, money, and what stage and weariness do. Ours."""

from pydantic import Field, field_validator

from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.config import DEFAULT_CHANNELS, Caps, Channel, LogOdds, checked_channels
from tribid.envs.worlds import Money, Part, Positive, Share, Spread

ByStage = tuple[LogOdds, LogOdds, LogOdds, LogOdds, LogOdds]


class Response(Part):
    """How an opened touch is answered, on the log-odds scale, by stage (unaware, aware, interested, purchased, loyal)."""

    ctr: float = Field(0.04, gt=0, lt=1, allow_inf_nan=False, description="click of an aware, rested consumer's touch")
    cvr: float = Field(0.12, gt=0, lt=1, allow_inf_nan=False, description="order after such a click")
    ctr_by_stage: ByStage = (-0.7, 0.0, 0.8, 0.2, 0.6)
    cvr_by_stage: ByStage = (-1.2, 0.0, 0.9, 0.2, 0.8)
    taste_spread: Spread = Field(0.6, description="standard deviation of a consumer's own click odds for a brand")
    power_spread: Spread = Field(0.4, description="standard deviation of a consumer's own order odds")
    after_order: float = Field(
        2.0, ge=0, le=10, allow_inf_nan=False, description="order odds lost right after an order"
    )
    need_days: Positive = Field(10.0, description="days in which that loss falls to 1/e")


class Weariness(Part):
    """What many touches do: a consumer's weariness of a brand is a count of opened touches that fades."""

    click: float = Field(0.25, ge=0, le=5, allow_inf_nan=False, description="click log-odds lost per recent touch")
    leave: float = Field(
        0.5, ge=0, le=5, allow_inf_nan=False, description="rise of the log chance to unsubscribe per touch"
    )
    fades_hours: Positive = Field(24.0, description="hours in which it falls to 1/e")


class ChannelWorldConfig(Part):
    """Some consumers, one or more brands, several days; each brand splits each day's budget over the channels."""

    seed: int = Field(
        0, ge=0, lt=2**63, description="fixes the consumers: their tastes, their power and who is on a list"
    )
    users: int = Field(2000, ge=1, le=1_000_000)
    days: int = Field(30, ge=1, le=3650)
    ticks: int = Field(6, ge=1, le=96, description="ticks of a day")
    prices: tuple[Money, ...] = Field(
        (30.0, 30.0), min_length=1, max_length=1000, description="an order's value, per brand"
    )
    budget: Money = Field(8.0, description="currency units that a brand may spend a day over all channels")
    channels: tuple[Channel, ...] = DEFAULT_CHANNELS
    caps: Caps = Caps()
    response: Response = Response()
    weariness: Weariness = Weariness()
    search_by_stage: tuple[Share, Share, Share, Share, Share] = Field(
        (0.2, 0.5, 1.0, 0.4, 0.7), description="how readily a consumer of each stage is met in search"
    )

    @field_validator("channels")
    @classmethod
    def _one_of_each(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        return checked_channels(channels)

    @property
    def brands(self) -> int:
        """How many brands there are."""
        return len(self.prices)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Consumers, brands, channels."""
        return self.users, self.brands, len(CHANNELS)
