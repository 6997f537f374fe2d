"""The journey's rows: which part is switched, with what against what, as changes of the scenario or as a platform's part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.agents.sequential.pickers import StageContentPicker
from tribid.envs.channels.config import DEFAULT_CHANNELS
from tribid.envs.channels.outreach import StageTargeted
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.journey.triggered import PLAYED, TriggeredOutreach
from tribid.envs.journey.world import Journey
from tribid.envs.platform import Platform
from tribid.envs.scenario import Scenario
from tribid.envs.triggers import Trigger
from tribid.evaluation.journey.untargeted import Untargeted
from tribid.evaluation.platform.worth import Variant

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class JourneyVariant(Variant):
    """A variant of a journey: changes of the scenario, and a platform's part by its name in ``PLATFORMS`` ("": none).

    ``like`` names the variant whose messages are counted first, for one that sends as many. ``credit`` is the rule of
    attribution by which the advertisers' numbers are counted ("": conversions as the market counts them).
    """

    platform: str = ""
    like: str = ""
    credit: str = ""


class Row(NamedTuple):
    """A row of the table: the part, the names of the variants with and without it, and whether only some pages count.

    ``pages`` is "" for all, "after" for those of scenes after an order; ``world`` is where both are played.
    """

    part: str
    against: str
    switched: str
    base: str
    pages: str = ""
    world: str = "journey"


def stage_messages(journey: Journey, counts: Counts | None) -> Platform:
    """E-mail and display to those who are interested or aware."""
    return Platform(outreach=StageTargeted(journey.journey.channels, journey.n_ticks))


def triggered(journey: Journey, counts: Counts | None) -> Platform:
    """The scenario's triggers."""
    config = journey.journey
    return Platform(outreach=TriggeredOutreach(config.triggers, config.channels, journey.categories, journey.n_ticks))


def untargeted(journey: Journey, counts: Counts | None) -> Platform:
    """As many messages as ``counts`` [D, T, C] to anybody."""
    assert counts is not None
    return Platform(outreach=Untargeted(counts, journey.journey.channels))


PLATFORMS: dict[str, Callable[[Journey, Counts | None], Platform]] = {
    "content by stage": lambda journey, counts: Platform(content=StageContentPicker()),
    "stage messages": stage_messages,
    "triggered messages": triggered,
    "untargeted messages": untargeted,
}
"""A platform's parts by name, for a journey and, where another's messages are matched, their counts."""

TRIGGERS = (
    Trigger(name="cart_abandoned", kind="cart_abandoned", wait_hours=4.0, priority=1),
    Trigger(name="complementary", kind="complementary", wait_hours=24.0),
)
"""What a scenario without triggers that a journey can play is played with."""


def with_messages(scenario: Scenario) -> Scenario:
    """The scenario with channels and triggers for messages, the default ones where it has none.

    Without messages a journey reads neither, so nothing else of it changes. ``ValueError`` for another kind.
    """
    config = scenario.world
    if not isinstance(config, JourneyWorld):
        raise ValueError(f"scenario {scenario.name} is of kind {config.kind}; allowed is a journey")
    changes: dict[str, Any] = {}
    if not config.channels:
        changes["world__channels"] = [channel.model_dump() for channel in DEFAULT_CHANNELS]
    if not any(trigger.kind in PLAYED for trigger in config.triggers):
        changes["world__triggers"] = [trigger.model_dump() for trigger in (*config.triggers, *TRIGGERS)]
    return scenario.with_changes(**changes) if changes else scenario


_TARGETS: dict[str, Any] = {"generated__objectives": ["target_cpa"]}

_ACCOUNTED: dict[str, Any] = {
    "base": _TARGETS, "changes": {"rules__outcomes": "sampled"}, "platform": "stage messages",
}  # fmt: skip

VARIANTS: tuple[JourneyVariant, ...] = (
    JourneyVariant(name="shipped"),
    JourneyVariant(name="plain after", changes={"world__complements__retrieved": False}),
    JourneyVariant(name="search scene", changes={"world__search": {}}),
    JourneyVariant(name="no cap", changes={"world__fatigue__cap": None}),
    JourneyVariant(name="stages unknown", changes={"world__stages__known": False}),
    JourneyVariant(name="fatigue unknown", changes={"world__fatigue__known": False}),
    JourneyVariant(name="order unknown", changes={"world__complements__known": False}),
    JourneyVariant(name="by stage", platform="content by stage"),
    JourneyVariant(name="show", changes={"world__contents__single": "show"}),
    JourneyVariant(name="review", changes={"world__contents__single": "review"}),
    JourneyVariant(name="trial", changes={"world__contents__single": "trial"}),
    JourneyVariant(name="stage messages", platform="stage messages"),
    JourneyVariant(name="as many to anybody", platform="untargeted messages", like="stage messages"),
    JourneyVariant(name="triggered", platform="triggered messages"),
    JourneyVariant(name="as many untriggered", platform="untargeted messages", like="triggered"),
    JourneyVariant(name="linear credit", credit="linear", **_ACCOUNTED),
    JourneyVariant(name="last-touch credit", credit="last", **_ACCOUNTED),
)
"""Every variant that a row needs; one that is matched comes after the one it is matched to."""

ROWS = (
    Row("complementary candidates after an order", "the plain feed's", "shipped", "plain after"),
    Row("the same, pages after an order alone", "the plain feed's", "shipped", "plain after", pages="after"),
    Row("search pages by relevance, floors, shadow bid", "the category's brands", "search scene", "shipped"),
    Row("frequency cap", "none", "shipped", "no cap"),
    Row("predictions know stages", "they do not", "shipped", "stages unknown"),
    Row("predictions know fatigue", "they do not", "shipped", "fatigue unknown"),
    Row("predictions know the order", "they do not", "shipped", "order unknown"),
    Row("content by stage", "no content", "by stage", "shipped"),
    Row("content by stage", "show for all", "by stage", "show"),
    Row("content by stage", "review for all", "by stage", "review"),
    Row("content by stage", "trial for all", "by stage", "trial"),
    Row("e-mail and display by stage", "no messages", "stage messages", "shipped"),
    Row("e-mail and display by stage", "as many to anybody", "stage messages", "as many to anybody"),
    Row("triggered messages", "no messages", "triggered", "shipped"),
    Row("triggered messages", "as many to anybody", "triggered", "as many untriggered"),
    Row("target CPA by linear credit", "by last touch", "linear credit", "last-touch credit"),
)
"""The first block of the table; its world is the scenario ``journey``."""


def variant(name: str) -> JourneyVariant:
    """A variant by name; ``ValueError`` where there is none."""
    for one in VARIANTS:
        if one.name == name:
            return one
    raise ValueError(f"no variant named {name!r}; choose {', '.join(one.name for one in VARIANTS)}")
