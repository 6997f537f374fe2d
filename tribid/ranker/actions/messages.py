"""What the next best action is asked and what it answers; decoding checks every field, and errors name it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tribid.envs.actions import MAX_ACTIONS
from tribid.ranker.messages import MAX_EVENTS, Name
from tribid.ranker.profile.messages import Profile, Status, TimeMs


class ActionRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which actions to propose to ``user`` now, at most ``limit``.

    ``id`` names the answer in events; the same ``id`` and user draw the same exploration, and without one the answer gets
    its own. ``profile`` takes the place of what is stored of the user, and ``features`` of single features by name.
    ``weight_by_value`` ranks by propensity times value; left out, as the service is set. ``at_ms`` is the time (Unix
    milliseconds) that rules and ages go by, now where it is left out. ``explain`` also tells which actions are left out,
    and why.
    """

    user: Name
    id: Name | None = None
    profile: Profile | None = None
    features: Annotated[dict[str, float], Meta(max_length=2_000)] = {}
    limit: Annotated[int, Meta(ge=1, le=MAX_ACTIONS)] = 10
    weight_by_value: bool | None = None
    at_ms: TimeMs | None = None
    explain: bool = False


class ProposedAction(Struct, frozen=True, kw_only=True):
    """One action of an answer. ``propensity`` is the chance, 0 to 1, that the user takes it within the period.

    ``score`` is what it is ranked by; 0.0 where the action has too few events to tell. ``explored``: a draw put it there.
    ``chance`` is the probability with which it is in this answer.
    """

    action: str
    kind: str
    category: int | None
    propensity: float
    value: float
    score: float
    explored: bool
    chance: float


class LeftOut(Struct, frozen=True):
    """An action that may not be proposed to this user now, and why."""

    action: str
    why: str


class ActionList(Struct, frozen=True, kw_only=True):
    """The actions to propose, first ones first. ``model`` names the weights, empty where there are none."""

    id: str
    user: str
    model: str
    actions: tuple[ProposedAction, ...]
    left_out: tuple[LeftOut, ...] = ()


class ActionEvent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user did about an action: saw it, declined it, or took it.

    ``id`` makes it idempotent among the user's events. ``listing`` is the ``id`` of the answer that proposed the action;
    with it, the model learns from what was known then. ``time_ms`` is when it happened, now where it is left out or lies
    ahead.
    """

    id: Name
    user: Name
    kind: Literal["viewed", "not_taken", "taken"]
    action: Name
    listing: Name | None = None
    time_ms: TimeMs | None = None


class ActionEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of events."""

    events: Annotated[tuple[ActionEvent, ...], Meta(min_length=1, max_length=MAX_EVENTS)]


class ActionReceipt(Struct, frozen=True, kw_only=True):
    """What became of an event. ``duplicate``: it was counted before. ``refused``: ``why`` says what is allowed.

    ``late``: the profiles count a taking no more that is older than their retention, or than the erasure of the user's data.
    """

    id: str
    status: Status
    why: str = ""


class ActionReceipts(Struct, frozen=True):
    """What became of a batch's events, in their order."""

    receipts: tuple[ActionReceipt, ...]


class KnownAction(Struct, frozen=True, kw_only=True):
    """An action of the catalogue; ``has_model`` says whether its propensity was learnt."""

    action: str
    kind: str
    value: float
    expires_ms: int | None
    has_model: bool


class Catalogue(Struct, frozen=True, kw_only=True):
    """What may be proposed at all, and the model in use."""

    model: str
    epsilon: float
    actions: tuple[KnownAction, ...]
