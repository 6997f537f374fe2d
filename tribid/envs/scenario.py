"""Scenarios: one YAML file describes one market; it is validated once, frozen, and named in every result by its hash.

In files, money is in currency units (``budget: 250.0``); in code it is integer micros (``budget_micros``). A scenario's
name (``feed``) or a path to a YAML file is accepted wherever a scenario is.
"""

import hashlib
import json
import reprlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tribid.envs.attribution.config import Attribution
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.worlds import (
    AuctionNetWorld,
    FeedWorld,
    Money,
    Part,
    Positive,
    ReplayWorld,
    Share,
    ShopWorld,
    Spread,
)
from tribid.refusals import what_is_wrong

MICROS = 1_000_000
"""Micros in one currency unit."""

SCENARIO_FOLDER = Path(__file__).parent.parent / "scenarios"

Objective = Literal["max_clicks", "max_conversions", "max_gmv", "target_cpa", "target_roas"]
OBJECTIVES: tuple[Objective, ...] = ("max_clicks", "max_conversions", "max_gmv", "target_cpa", "target_roas")


class Ocpc(Part):
    """Optimised cost per click (Zhu et al., KDD 2017): how the platform adjusts the bids of those who opted in."""

    strategy: Literal["off", "simple", "greedy", "conversion_rank"] = "off"
    index: Literal["f1", "f2", "sigma", "dynamic"] = "f2"
    bid_range: float = Field(0.4, ge=0, lt=1, allow_inf_nan=False)
    alpha: Money = 1.0
    click_value: Money = Field(1.0, description="money value of a click to the platform; only index dynamic reads it")


class Rules(Part):
    """The market's rules. ``charge: impression`` makes bids, reserve and prices per exposure instead of per click."""

    auction: Literal["first_price", "gsp", "vcg"] = "gsp"
    slot_effects: tuple[Share, ...] = (1.0, 0.7, 0.5)
    reserve: Money = Field(0.0, description="0, or at least one micro (0.000001)")
    squash: float = Field(1.0, ge=0, le=4, allow_inf_nan=False)
    charge: Literal["click", "impression"] = "click"
    ocpc: Ocpc = Ocpc()
    outcomes: Literal["sampled", "expected"] = "sampled"
    feedback: Literal["none", "win_lose", "price", "min_to_win"] = "min_to_win"
    max_multiplier: float = Field(8.0, gt=1, le=1e4, allow_inf_nan=False)
    max_bid: Positive = 1e6
    segments: Literal["none", "state", "cluster"] = "none"

    @model_validator(mode="after")
    def _rules_fit(self) -> "Rules":
        effects = self.slot_effects
        if not effects or list(effects) != sorted(effects, reverse=True):
            raise ValueError(f"rules.slot_effects is {effects}; allowed is at least one, each from 0 to 1, not rising")
        if 0 < self.reserve < 1 / MICROS:
            raise ValueError(f"rules.reserve is {self.reserve}; allowed is 0, or from 0.000001 on")
        if self.charge == "impression" and self.ocpc.strategy != "off":
            raise ValueError(
                f"rules.ocpc.strategy is {self.ocpc.strategy!r}; allowed is 'off' where impressions are charged"
            )
        return self


class Advertiser(Part):
    """One advertiser with one ad.

    ``bid_form: flat`` bids ``base_bid`` per click whatever the prediction (and OCPC may adjust it); ``value`` bids in
    proportion to the predicted conversion rate: ``target_cpa * pcvr``, ``pcvr * price / target_roas``, or ``base_bid *
    pcvr / mean pcvr``. Left out, it is ``value`` for the two targets and ``flat`` for the rest.
    """

    name: str = Field(min_length=1, max_length=80)
    objective: Objective = "max_conversions"
    budget: Positive = 100.0
    base_bid: Positive = 1.0
    category: int = Field(0, ge=0, lt=1_000_000)
    price: Positive = 100.0
    target_cpa: Positive | None = None
    target_roas: Annotated[float, Field(ge=1e-3, le=1e6, allow_inf_nan=False)] | None = None
    bid_form: Literal["flat", "value"] | None = None
    ocpc: bool | None = Field(None, description="opted in to OCPC; left out, every flat bidder is")

    @model_validator(mode="after")
    def _target_fits(self) -> "Advertiser":
        for objective in ("target_cpa", "target_roas"):
            given = getattr(self, objective)
            if (given is not None) != (self.objective == objective):
                wanted = f"a positive {objective}" if self.objective == objective else f"no {objective}"
                raise ValueError(
                    f"advertiser {self.name!r}: {objective} is {given}; objective {self.objective} takes {wanted}"
                )
        return self


class GeneratedAdvertisers(Part):
    """Advertisers drawn from the world's seed: objectives in turn, prices lognormal, budgets and bids from the item.

    ``margin`` is the share of an item's price that its advertiser will spend on a conversion; the base bid is ``bid_level
    * margin * price * mean cvr`` per click; a budget is ``budget_share`` of what the ad would cost at the base bid if it
    had every first slot, times a lognormal factor of log-scale ``budget_spread``, and at least ``least_budget``: an item
    that retrieval hardly ever finds has next to none by that rule, and a score (value over budget) that one order decides.
    """

    count: int = Field(16, ge=1, le=1_000_000)
    objectives: tuple[Objective, ...] = Field(OBJECTIVES, min_length=1)
    price: Positive = 80.0
    price_spread: Spread = 0.5
    margin: float = Field(0.25, gt=0, le=1, allow_inf_nan=False)
    bid_level: Positive = 1.0
    budget_share: Positive = 0.08
    budget_spread: Spread = 0.3
    least_budget: Positive = 0.01
    bid_form: Literal["flat", "value"] | None = Field(
        None, description="of everybody; left out, as the objective has it"
    )


class Reward(Part):
    """Which reward a learner gets; see ``tribid.envs.reward``."""

    part: Literal["own", "surplus", "total", "mix", "platform_floor", "attributed"] = "own"
    temperature: Positive = 1.0
    revenue_floor: Share = 0.5
    penalty_exponent: float = Field(2.0, ge=0, le=10, allow_inf_nan=False)
    attribution: Attribution | None = Field(
        None, description="of part attributed alone; left out, linear over feed and search"
    )

    @model_validator(mode="after")
    def _attribution_is_used(self) -> "Reward":
        if self.attribution is not None and self.part != "attributed":
            raise ValueError(
                f"reward.attribution was given with reward.part {self.part!r}; allowed is 'attributed', or no attribution"
            )
        return self


class Scenario(Part):
    """A market: its world, rules, advertisers and reward. Frozen; ``hash`` names its content."""

    name: str = Field(min_length=1, max_length=80)
    description: str = ""
    world: FeedWorld | ShopWorld | AuctionNetWorld | ReplayWorld | JourneyWorld = Field(
        FeedWorld(), discriminator="kind"
    )
    rules: Rules = Rules()
    advertisers: tuple[Advertiser, ...] = Field((), description="listed one by one; left out, a feed generates them")
    generated: GeneratedAdvertisers = GeneratedAdvertisers()
    reward: Reward = Reward()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Scenario":
        names = [advertiser.name for advertiser in self.advertisers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"advertisers: {', '.join(twice)} listed more than once; each name is allowed once")
        if not isinstance(self.world, FeedWorld) and not names:
            raise ValueError(f"advertisers: none listed; a {self.world.kind} world takes a list, only a feed generates")
        if not isinstance(self.world, FeedWorld) and self.rules.segments != "none":
            raise ValueError(f"rules.segments is {self.rules.segments!r}; a {self.world.kind} world allows none")
        if isinstance(self.world, JourneyWorld):
            self.world.check_slots(len(self.rules.slot_effects))
        elif self.reward.part == "attributed":
            raise ValueError(
                f"reward.part is 'attributed'; a {self.world.kind} world has no touches to credit, a journey has"
            )
        return self

    @cached_property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of the content (name and description left out)."""
        content = self.model_dump(mode="json", exclude={"name", "description"})
        if content["world"]["kind"] == "replay" and content["world"]["log_sha256"]:
            del content["world"]["log"]
        if content["world"].get("retrieval", ...) is None:
            del content["world"]["retrieval"]  # scenarios from before there was retrieval keep their names
        if self.rules.ocpc.click_value == Ocpc().click_value:
            del content["rules"]["ocpc"]["click_value"]  # older scenarios had none
        if self.reward.attribution is None:
            del content["reward"]["attribution"]  # nor that
        if self.generated.least_budget == GeneratedAdvertisers().least_budget:
            del content["generated"]["least_budget"]  # nor that
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def with_changes(self, **changes: Any) -> "Scenario":
        """A validated copy; keys are dotted paths with ``__``: ``with_changes(rules__auction="vcg")``.

        >>> load_scenario("tiny").with_changes(rules__auction="vcg").rules.auction
        'vcg'
        """
        content = self.model_dump()
        for path, value in changes.items():
            *parents, last = path.split("__")
            part = content
            for parent in parents:
                if not isinstance(part.get(parent), dict):
                    raise ValueError(f"no part {parent!r} in {path!r}; choose {', '.join(map(str, part))}")
                part = part[parent]
            part[last] = value.model_dump() if isinstance(value, BaseModel) else value
        if "world__log" in changes and "world__log_sha256" not in changes:
            content["world"]["log_sha256"] = ""
        return parse_scenario(content, source="with_changes")


def scenario_names() -> list[str]:
    """The scenarios that ship with the package.

    >>> 'feed' in scenario_names()
    True
    """
    return sorted(path.stem for path in SCENARIO_FOLDER.glob("*.yaml"))


def load_scenario(name_or_path: "str | Path | Scenario") -> Scenario:
    """The scenario of that name, or in that YAML file.

    Raises ``ValueError`` that lists every bad field with its value and what is allowed, or the names to choose from.
    """
    if isinstance(name_or_path, Scenario):
        return name_or_path
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = SCENARIO_FOLDER / f"{name_or_path}.yaml"
        if path.stem not in scenario_names():
            raise ValueError(
                f"no scenario named {str(name_or_path)!r}; choose {', '.join(scenario_names())}, or a path ending in .yaml"
            )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_EachKeyOnce)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"scenario file {path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets a 13th month and deep nesting through
        raise ValueError(f"scenario file {path} is not YAML: {error}") from error
    world = content.get("world") if isinstance(content, dict) else None
    if isinstance(world, dict) and isinstance(world.get("log"), str):
        world["log"] = str((path.parent / world["log"]).resolve())
    return parse_scenario(content, source=str(path))


class _EachKeyOnce(yaml.SafeLoader):
    """YAML's safe loader, but for a key that stands twice: it would silently take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping, or the error that names the key and its line."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1 and key != "<<"), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice!r} stands more than once", node.start_mark)
        return dict(super().construct_mapping(node, deep))


def parse_scenario(content: Any, source: str = "scenario") -> Scenario:
    """A scenario from plain data (what YAML or JSON holds); ``source`` names it in errors."""
    if not isinstance(content, dict):
        wanted = "a scenario is a mapping with name, world, rules, advertisers"
        raise ValueError(f"{source}: {wanted}; got {_short(content)}")
    if isinstance(content.get("world"), dict):
        content = {**content, "world": {"kind": "feed", **content["world"]}}
    try:
        scenario = Scenario.model_validate(content)
    except ValidationError as error:
        lines = [f"  {_where(detail['loc'])}: {_what(detail)}" for detail in _first_causes(error.errors())]
        raise ValueError(f"{source} is not a valid scenario:\n" + "\n".join(lines)) from None
    if isinstance(scenario.world, ReplayWorld):
        found, said = log_digest(scenario.world.log), scenario.world.log_sha256
        if said not in ("", found):
            raise ValueError(f"{source}: world.log_sha256 is {said!r:.80}; allowed is the log's, {found}, or none")
        return scenario.model_copy(update={"world": scenario.world.model_copy(update={"log_sha256": found})})
    return scenario


def log_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"log {path} cannot be read: {error}") from error


def _where(location: tuple[int | str, ...]) -> str:
    kinds = {"feed", "shop", "journey", "auctionnet", "replay"}
    return ".".join(str(step) for step in location if step not in kinds) or "scenario"


def _first_causes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Errors without those of a list that was too short only because an entry of it failed."""
    inner = {detail["loc"][:length] for detail in details for length in range(len(detail["loc"]))}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in inner]


def _what(detail: ErrorDetails) -> str:
    message = what_is_wrong(detail, Scenario)
    if detail["type"] == "value_error":
        return message
    return f"{_short(detail['input'])} is not allowed: {message}"


def _short(value: Any) -> str:
    """At most about 80 characters; YAML aliases can make a value whose whole text has no end."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother, brief.maxlong = 2, 80, 80, 80
    return f"{brief.repr(value):.80}"
