"""What a scenario says of a journey: scenes, what stages do, fatigue, complements, and what predictions know. Ours.

A journey is a shop with more to say; numbers on the log-odds scale add up with those of the shop.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tribid.envs.actions import Action, checked_actions
from tribid.envs.channels.config import Channel, checked_channels
from tribid.envs.search.config import Search
from tribid.envs.sequential.config import Contents
from tribid.envs.stages import STAGES
from tribid.envs.triggers import Trigger
from tribid.envs.worlds import Part, Positive, Share, ShopWorld

Effect = Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)]
Effects = tuple[Effect, Effect, Effect, Effect, Effect]
Hours = Annotated[float, Field(gt=0, le=1440, allow_inf_nan=False)]


class Scene(Part):
    """A place where pages are seen, with slots, candidates and intent of its own.

    ``weight`` is its share of the pages among the scenes that are open to a user then. ``needs`` says what opens it: a
    cart that was filled, or an order that was placed, within ``within_hours``, or a search of the visit. ``candidates``:
    ``interest`` are those that the shop retrieves for the user; ``cart`` the brands of the cart's category and its
    complements; ``complement`` those of the complements of the last order's category; ``category`` those of the category
    that the visit searched last.
    """

    name: str = Field(min_length=1, max_length=40)
    moment: Literal["before", "during", "after"] = "before"
    channel: Literal["feed", "search"] = Field("feed", description="as what its exposures count")
    weight: Positive = 1.0
    slot_effects: tuple[Share, ...] | None = Field(
        None, description="its own slots, at most as many as rules.slot_effects; left out, those"
    )
    candidates: Literal["interest", "cart", "complement", "category"] = "interest"
    needs: Literal["nothing", "cart", "order", "search"] = "nothing"
    within_hours: Hours = 72.0
    ctr: Effect = Field(0.0, description="what being in this scene does to the log-odds of a click")
    cvr: Effect = Field(0.0, description="and of a conversion")

    @model_validator(mode="after")
    def _scene_fits(self) -> "Scene":
        needed = {"cart": "cart", "complement": "order", "category": "search"}.get(self.candidates, self.needs)
        if self.needs != needed:
            raise ValueError(
                f"scene {self.name}: needs is {self.needs!r}; allowed is {needed!r} with candidates {self.candidates!r}"
            )
        effects = self.slot_effects
        if effects is not None and (not effects or list(effects) != sorted(effects, reverse=True)):
            raise ValueError(
                f"scene {self.name}: slot_effects is {effects}; allowed is at least one, each from 0 to 1, not rising"
            )
        return self


SCENES = (
    Scene(name="home", weight=4.0),
    Scene(name="guess", weight=3.0, ctr=0.1),
    Scene(
        name="search", channel="search", weight=2.0, candidates="category", needs="search", slot_effects=(1.0, 0.7),
        ctr=0.4, cvr=0.4,
    ),
    Scene(
        name="cart", moment="during", weight=2.0, candidates="cart", needs="cart", within_hours=48.0,
        slot_effects=(0.8, 0.6), ctr=-0.1, cvr=0.3,
    ),
    Scene(
        name="paid", moment="after", weight=1.5, candidates="complement", needs="order", within_hours=24.0,
        slot_effects=(0.9, 0.6), ctr=-0.2, cvr=-0.1,
    ),
    Scene(
        name="logistics", moment="after", weight=1.5, candidates="complement", needs="order", within_hours=120.0,
        slot_effects=(0.8, 0.5), ctr=-0.1, cvr=-0.1,
    ),
)  # fmt: skip
"""Home feed and guess-you-like, search, cart, paid page and logistics page: the scenes of a large shop's path."""


class StageEffects(Part):
    """What a consumer's stage with a brand does to the log-odds of a click on its ad and of a conversion after it.

    One number for each of unaware, aware, interested, purchased and loyal; ``known``: whether predictions know the stage,
    or take every pair for the usual one.
    """

    ctr: Effects = (-0.25, 0.0, 0.45, 0.2, 0.5)
    cvr: Effects = (-0.35, 0.0, 0.5, 0.3, 0.7)
    known: bool = True


class Fatigue(Part):
    """What seeing a brand again does: log-odds fall with today's exposures to it, over all channels, and a cap ends it.

    Fatigue makes visits shorter, too: users leave for the shortfall of the ads' click rates, which fatigue lowers.
    ``known``: whether predictions know of it, or take every exposure for the day's first.
    """

    ctr: Effect = Field(-0.25, description="change of a click's log-odds for each exposure to the brand before")
    cvr: Effect = 0.0
    most: int = Field(8, ge=0, le=1000, description="exposures after which no further one changes anything")
    cap: int | None = Field(
        5, ge=1, le=1000, description="exposures to one brand that a user has in a day at most; left out, no cap"
    )
    known: bool = True


class Complements(Part):
    """What is bought with what: for ``hours`` after an order its complements do better, its own category worse.

    ``pairs`` lists for each category those that go with it; left out, ``count`` of them are drawn from the world's seed.
    With ``retrieved`` off, scenes whose candidates are complements show the shop's plain ones instead, to compare.
    """

    pairs: tuple[tuple[Annotated[int, Field(ge=0, lt=10_000)], ...], ...] = ()
    count: int = Field(4, ge=0, le=100)
    hours: Hours = 120.0
    ctr: Effect = 1.5
    cvr: Effect = 0.8
    own_ctr: Effect = Field(-1.0, description="on ads of the category just bought: nobody buys a second phone")
    own_cvr: Effect = -2.0
    retrieved: bool = True
    known: bool = Field(True, description="whether predictions know of the order")


class Organic(Part):
    """What a user's own behaviour in the shop counts for the brands: how much of the catalogue is theirs.

    Items beyond the advertised ones are dealt to the brands of their category, a share of them; looking at an item of a
    category is a search of that category for all of its brands with the chance ``looks_around``.
    """

    brand_share: Share = 0.5
    looks_around: Share = 0.3


class JourneyWorld(ShopWorld):
    """A shop whose users remember: scenes, stages, fatigue and complements; all of a shop's parts hold."""

    kind: Literal["journey"] = "journey"  # type: ignore[assignment]  # a journey is a shop with more to say
    scenes: tuple[Scene, ...] = Field(SCENES, min_length=1, max_length=100)
    stages: StageEffects = StageEffects()
    fatigue: Fatigue = Fatigue()
    complements: Complements = Complements()
    organic: Organic = Organic()
    contents: Contents = Contents()
    channels: tuple[Channel, ...] = Field((), description="left out, no messages are sent outside the auction")
    triggers: tuple[Trigger, ...] = Field(
        (), description="what a service writes to consumers for; each with its own name"
    )
    actions: tuple[Action, ...] = Field((), description="what a service proposes to consumers; each with its own name")
    search: Search | None = Field(None, description="left out, the search scene is a scene as the others")

    @model_validator(mode="after")
    def _journey_fits(self) -> "JourneyWorld":
        names = [scene.name for scene in self.scenes]
        if len(set(names)) < len(names):
            raise ValueError(f"scenes are {names}; allowed is each name once")
        if all(scene.needs != "nothing" for scene in self.scenes):
            raise ValueError("every scene needs something; allowed is at least one scene that needs nothing")
        pairs = self.complements.pairs
        if pairs and len(pairs) != self.categories:
            raise ValueError(
                f"complements.pairs has {len(pairs)} rows; allowed is one for each of {self.categories} categories, or none"
            )
        for category, others in enumerate(pairs):
            if len(set(others)) < len(others) or any(c == category or c >= self.categories for c in others):
                raise ValueError(
                    f"complements.pairs of category {category} is {others}; allowed are other categories below "
                    f"{self.categories}, each once"
                )
        if self.channels:
            checked_channels(self.channels)
        return self

    @model_validator(mode="after")
    def _what_a_service_does_fits(self) -> "JourneyWorld":
        names = [trigger.name for trigger in self.triggers]
        if len(set(names)) < len(names):
            raise ValueError(f"triggers are {names}; allowed is each name once")
        for action in checked_actions(self.actions) if self.actions else ():
            if action.category is not None and action.category >= self.categories:
                raise ValueError(
                    f"action {action.name!r}: category is {action.category}; allowed is 0 to {self.categories - 1}"
                )
        return self

    def check_slots(self, slots: int) -> None:
        """Raise ``ValueError`` for a scene with more slots than the scenario's pages have."""
        for scene in self.scenes:
            if scene.slot_effects is not None and len(scene.slot_effects) > slots:
                raise ValueError(
                    f"scene {scene.name}: slot_effects has {len(scene.slot_effects)} slots; allowed are at most the {slots} "
                    f"of rules.slot_effects"
                )


assert len(STAGES) == 5
