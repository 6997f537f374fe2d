"""Actions that a shop can propose to a user: join the club, get the app, take the newsletter, buy in a category.

An action says what it is worth, whom it may be proposed to, until when, and when again after it was taken. What is usual
elsewhere in next-best-action services is kept here: at most 1000 actions, ten columns of metadata, a repeat of 30 days.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from tribid.envs.worlds import Money, Part

MAX_ACTIONS = 1000
MAX_METADATA_COLUMNS = 10
MAX_REPEAT_DAYS = 30
MAX_FILE_BYTES = 8 << 20
"""A larger file of actions is refused before it is read."""

ACTION_KINDS = ("join_club", "app", "newsletter", "buy_in_category")
"""Kinds that Tribid knows: taking the first three becomes a feature of the user. Any other word may be a kind, too."""

Stage = Literal["unaware", "aware", "interested", "purchased", "loyal"]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Column = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Cell = Annotated[str, Field(max_length=200)] | Annotated[float, Field(allow_inf_nan=False)]


class Eligibility(Part):
    """Whom an action may be proposed to; all conditions hold together, and the defaults let everybody pass.

    A stage is one with ``brand``; without a brand, the highest that the user has with any.
    """

    members: Literal["all", "members", "others"] = Field("all", description="members of the club, or those who are not")
    stage: Stage = Field("unaware", description="the lowest stage that will do")
    brand: Text | None = Field(None, description="the brand whose stage counts")
    has_ordered: bool | None = Field(None, description="whether the user must (or must not) have ordered before")
    min_days_known: float = Field(
        0.0, ge=0, le=36_500, allow_inf_nan=False, description="days since the user was first met, at least"
    )


class Action(Part):
    """One action. ``value`` is what it earns when it is taken, in currency units.

    From ``expires`` on it is proposed to nobody (a time without a zone is read as UTC). ``repeat_days`` after it was taken
    it may be proposed to that user again: 0 at once, None never.
    """

    name: Text
    kind: str = Field(
        "app", pattern=r"^[a-z][a-z0-9_]{0,59}$", description=f"one of {', '.join(ACTION_KINDS)}, or a word"
    )
    category: int | None = Field(None, ge=0, lt=2**31, description="where to buy; for buy_in_category alone")
    value: Money = 1.0
    expires: datetime | None = None
    repeat_days: int | None = Field(None, ge=0, le=MAX_REPEAT_DAYS)
    eligibility: Eligibility = Eligibility()
    metadata: dict[Column, Cell] = Field(default_factory=dict, max_length=MAX_METADATA_COLUMNS)

    @field_validator("expires")
    @classmethod
    def _in_utc(cls, given: datetime | None) -> datetime | None:
        if given is None:
            return None
        if not 1970 <= given.year <= 9998:
            raise ValueError(f"the year is {given.year}; allowed is 1970 to 9998")
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)

    @model_validator(mode="after")
    def _category_fits(self) -> "Action":
        if (self.category is not None) != (self.kind == "buy_in_category"):
            raise ValueError(
                f"category is {self.category} for an action of kind {self.kind!r}; "
                "allowed is a category for buy_in_category, and none for another kind"
            )
        return self

    @property
    def expires_ms(self) -> int | None:
        """When it expires, in Unix milliseconds."""
        return None if self.expires is None else round(self.expires.timestamp() * 1000)

    def __hash__(self) -> int:
        return hash(self.name)


_ACTIONS: TypeAdapter[tuple[Action, ...]] = TypeAdapter(tuple[Action, ...])


def checked_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    """The actions; ``ValueError`` for none, too many, a name that two share, or too many columns of metadata in all."""
    known = tuple(actions)
    if not 1 <= len(known) <= MAX_ACTIONS:
        raise ValueError(f"actions are {len(known)}; allowed are 1 to {MAX_ACTIONS}")
    names = [action.name for action in known]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"actions have the name {twice[0]!r} twice; allowed is each name once")
    columns = sorted(set().union(*(action.metadata for action in known)))
    if len(columns) > MAX_METADATA_COLUMNS:
        raise ValueError(
            f"metadata has {len(columns)} columns over all actions; allowed are {MAX_METADATA_COLUMNS}: {', '.join(columns)}"
        )
    return known


def load_actions(path: str | Path) -> tuple[Action, ...]:
    """The actions in a YAML or JSON file, a list or ``{"actions": [...]}``; ``ValueError`` names file and field."""
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"{file} has {size} bytes; allowed are {MAX_FILE_BYTES}")
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from None
    if isinstance(content, dict) and set(content) == {"actions"}:
        content = content["actions"]
    try:
        return checked_actions(_ACTIONS.validate_python(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{file}: actions{where} is {first['input']!r:.80}: {what}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def actions_json(actions: Iterable[Action]) -> list[dict[str, Any]]:
    """The actions as JSON, which ``load_actions`` reads back."""
    return [action.model_dump(mode="json") for action in actions]
