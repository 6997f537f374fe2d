"""``Counting``: whether an event counts, and what it and all that it sets off do to a user's record."""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec
from msgspec import Struct, structs

from tribid.ranker.messages import MAX_EVENTS
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Profile
from tribid.ranker.profile.record import Counted, Entry, Record, id_hash
from tribid.ranker.profile.rules import Recent, Rules
from tribid.ranker.profile.settings import ProfileSettings
from tribid.refusals import allowed, with_choices

MAX_IDS = 20_000
"""Events of one user within the retention; more are refused."""

MAX_BRANDS = 1_000
"""Brands in one profile; an event that brings one more is refused."""

_NEEDS_ITEM = ("favourite", "cart", "cart_removed", "order")
_FORGET_EVERY = 256
_FEW_BRANDS = 5
_PERSON = b"tribid user"
_PERSON_GONE = b"tribid gone"
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(ConsumerEvent).decode


class Erasure(Struct, frozen=True, array_like=True):
    """When a user's data were erased last (-1: never), and the events that were counted before.

    ``ids`` are hashes that nobody can make without the salt, and when each was erased.
    """

    at_ms: int = -1
    ids: dict[int, int] = {}


NEVER = Erasure()


class Counting:
    """The part of every store that decides; what it returns, the store keeps."""

    def __init__(self, settings: ProfileSettings, salt: bytes) -> None:
        self.settings = settings
        self.rules = Rules(settings, salt)
        self._salt = salt
        self._brands = None if settings.brands is None else frozenset(settings.brands)
        self._actions = None if settings.actions is None else frozenset(settings.actions)
        self._brands_allowed = allowed(sorted(settings.brands or ()), most=_FEW_BRANDS)
        self._actions_allowed = allowed(settings.actions or ())

    def token(self, user: str) -> str:
        """A user as everything but the profiles names them: keyed BLAKE2b, 32 hex digits.

        Without the salt nobody can tell whose it is; with it, whoever tries every name can.
        """
        return blake2b(user.encode(), digest_size=16, key=self._salt, person=_PERSON).hexdigest()

    def erased_id(self, token: str, name: int) -> int:
        """What is left of an event of an erased user, by the hash that the record knew it by."""
        told = token.encode() + name.to_bytes(8, "little")
        return int.from_bytes(blake2b(told, digest_size=8, key=self._salt, person=_PERSON_GONE).digest(), "little")

    def take(
        self, record: Record, event: ConsumerEvent, recent: Recent, erased: Erasure
    ) -> tuple[ConsumerReceipt, list[Entry]]:
        """Count a checked event in its user's record; its receipt and the entries, none where it does not count.

        ``erased`` is the erasure of the user's data, of whose events only this one matters.
        """
        now_ms = self.settings.clock_ms()
        at_ms = now_ms if event.time_ms is None else min(event.time_ms, now_ms)
        status, why = "accepted", ""
        if at_ms < now_ms - self.settings.keep_ms:
            status, why = "late", f"time_ms is {at_ms}; allowed is at most {self.settings.keep_days:g} days ago"
        elif at_ms <= erased.at_ms or self._is_erased(event, erased):
            status, why = "late", "the user's data were erased since"
        elif record.knows(event):
            status = "duplicate"
        else:
            event = self._named(event, at_ms)
            why = self._why_refused(record, event)
            status = "refused" if why else "accepted"
        if status != "accepted":
            return ConsumerReceipt(id=event.id, status=status, why=why), []  # type: ignore[arg-type]
        if len(record.ids) % _FORGET_EVERY == _FORGET_EVERY - 1:
            record.forget(now_ms - self.settings.forget_ms)
        counted = Counted(event)
        record.apply(counted)
        entries = self.rules.after_event(record, event, recent, now_ms)
        triggered = tuple(one.id for one in entries if getattr(one, "message", None) is not None)  # type: ignore[union-attr]
        return ConsumerReceipt(id=event.id, status="accepted", triggered=triggered), [counted, *entries]

    def _is_erased(self, event: ConsumerEvent, erased: Erasure) -> bool:
        # An event without a time counts as of now whenever it is told, so only its id says that it is an old one.
        return bool(erased.ids) and self.erased_id(self.token(event.user), id_hash(event.id)) in erased.ids

    def _named(self, event: ConsumerEvent, at_ms: int) -> ConsumerEvent:
        brand = event.brand
        if brand is None and event.item is not None:
            brand = self.settings.brand_of(event.item)
        return structs.replace(event, time_ms=at_ms, brand=brand)

    def _why_refused(self, record: Record, event: ConsumerEvent) -> str:
        if event.item is None and event.kind in _NEEDS_ITEM:
            return f"item is missing; {event.kind} needs one"
        unknown = self._why_unknown(event)
        if unknown:
            return unknown
        marks = record.profile.marks
        if event.brand is not None and event.brand not in marks and len(marks) >= MAX_BRANDS:
            return f"brand is one more than the {MAX_BRANDS} that a profile holds"
        if len(record.ids) >= MAX_IDS:
            record.forget(self.settings.clock_ms() - self.settings.forget_ms)
            if len(record.ids) >= MAX_IDS:
                return f"user has {MAX_IDS} events within {self.settings.keep_days:g} days; allowed are no more"
        return ""

    def _why_unknown(self, event: ConsumerEvent) -> str:
        """What an event names that the settings do not know, and what they do; empty where they know it all."""
        for name, number, count in (
            ("item", event.item, self.settings.items), ("category", event.category, self.settings.categories),
        ):  # fmt: skip
            if number is not None and count is not None and number >= count:
                return f"{name} is {number}; allowed is 0 to {count - 1}"
        if event.brand is not None and self._brands is not None and event.brand not in self._brands:
            return f"brand is {event.brand!r:.60}; {self._brands_allowed}"
        if event.action is not None and self._actions is not None and event.action not in self._actions:
            return f"action is {event.action!r:.60}; {self._actions_allowed}"
        return ""


def new_record(user: str) -> Record:
    """The record of somebody of whom nothing is known."""
    return Record(
        profile=Profile(
            user=user, marks={}, viewed=[], favourites={}, cart={}, removed={}, orders=[], counts={}, last={}, sent=[],
            actions={}, left={}, shown={},
        )
    )  # fmt: skip


def check_events(events: Sequence[ConsumerEvent]) -> None:
    """``ValueError`` for what a decoded batch of events could not hold; names the field."""
    if len(events) > MAX_EVENTS:
        raise ValueError(f"$.consumers has {len(events)} entries; allowed is at most {MAX_EVENTS}")
    for place, event in enumerate(events):
        at = f"$.consumers[{place}]"
        try:
            _DECODE(_ENCODE(event))
        except msgspec.ValidationError as error:
            told, _, where = with_choices(str(error), ConsumerEvent).partition(" - at `$")
            raise ValueError(f"{at}{where.rstrip('`')} {told}") from None
        except (UnicodeEncodeError, OverflowError, TypeError) as error:
            raise ValueError(f"{at} cannot be written down: {error}") from None
        for name in ("id", "user", "brand", "action"):
            if "\0" in (getattr(event, name) or ""):
                raise ValueError(f"{at}.{name} holds a NUL; allowed are texts without")
