"""What goes over HTTP around the ranker's own messages: batches and their answers, errors, health."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tribid.ranker.messages import MAX_BATCH, MAX_EVENTS, Decision, Event, Receipt, Request
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt


class RankBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """Several page views, decided in this order."""

    requests: Annotated[tuple[Request, ...], Meta(min_length=1, max_length=MAX_BATCH)]


class Decisions(Struct, frozen=True):
    """A batch's decisions, in the order of its requests."""

    decisions: tuple[Decision, ...]


class EventBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What happened to pages that were answered, and what consumers did elsewhere; one event at least.

    ``consumers`` are for a service that keeps profiles (``tribid serve --consumers``).
    """

    events: Annotated[tuple[Event, ...], Meta(max_length=MAX_EVENTS)] = ()
    consumers: Annotated[tuple[ConsumerEvent, ...], Meta(max_length=MAX_EVENTS)] = ()


class Receipts(Struct, frozen=True, omit_defaults=True):
    """What became of a batch's events, and of those of consumers, in their order."""

    receipts: tuple[Receipt, ...]
    consumers: tuple[ConsumerReceipt, ...] = ()


class Activation(Struct, frozen=True, forbid_unknown_fields=True):
    """How a release of policies is put to use: ``percent`` of the users is for ``split`` alone.

    ``active`` decides, ``shadow`` decides along without being shown, ``split`` decides for its share of the users, ``off``
    ends a shadow or a split.
    """

    mode: Literal["active", "shadow", "split", "off"] = "active"
    percent: Annotated[float, Meta(ge=0, le=100)] | None = None


class Health(Struct, frozen=True):
    """``ok`` or ``ready``, or why not."""

    status: str


class Problem(Struct, frozen=True):
    """``field`` is where (``$.requests[3].tick``, a header's or a parameter's name, or nothing), ``message`` what is
    allowed.
    """

    field: str
    message: str


class Failure(Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: Problem
