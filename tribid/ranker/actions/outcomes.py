"""``Outcomes``: what came of proposed actions, counted once each: to the log that is learnt from, and to the profiles."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Final, Protocol

from tribid.models.actions.log import Happened
from tribid.models.actions.rules import ActionRules
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.messages import ActionEvent, ActionReceipt
from tribid.ranker.actions.profile_features import ProfileFeatures
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Profile

_REMEMBERED: Final = 200_000
"""Events whose ids are remembered; a repetition that comes later is told when the log is read."""

_Key = tuple[str, str]  # a user and the id of an event of theirs


class Profiles(Protocol):
    """What is needed of a store of profiles (``tribid.ranker.profile.interface``)."""

    async def profile(self, user: str) -> Profile | None:
        """What is known of a user."""
        ...

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Count events."""
        ...


class Outcomes:
    """Takes events about actions, one batch after another; use it from one event loop.

    What was taken is told to ``profiles`` first, and only what these count is written to the ``journal``. Where one of the
    two fails, nothing is answered, and the same events told again complete what was begun, each counted once.
    """

    def __init__(
        self, rules: ActionRules, reader: ProfileFeatures, profiles: Profiles | None, journal: ActionJournal | None,
        clock_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._rules, self._reader = rules, reader
        self._profiles, self._journal, self._clock_ms = profiles, journal, clock_ms
        self._seen: OrderedDict[_Key, ActionEvent] = OrderedDict()
        self._counting = asyncio.Lock()

    async def take(self, events: Sequence[ActionEvent]) -> list[ActionReceipt]:
        """A receipt for each event, when those counted are on the disk.

        ``ValueError`` for a malformed one, before any is counted; ``OSError`` and ``ProfilesUnavailableError`` where they
        cannot be kept.
        """
        _check(events)
        async with self._counting:  # so that a repetition waits for what becomes of the first
            fresh: dict[_Key, ActionEvent] = {}
            receipts = [self._receipt(event, fresh) for event in events]
            # An erasure meanwhile waits until what was known before it is in the journal, and takes it out there.
            with nullcontext() if self._journal is None else self._journal.under_way():
                otherwise = await self._kept(fresh)
            for key, event in fresh.items():
                if key not in otherwise or otherwise[key].status == "duplicate":
                    self._seen[key] = event
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return [
            receipt if receipt.status == "refused" else otherwise.get((event.user, event.id), receipt)
            for event, receipt in zip(events, receipts, strict=True)
        ]

    def _receipt(self, event: ActionEvent, fresh: dict[_Key, ActionEvent]) -> ActionReceipt:
        """What becomes of an event if it can be kept; a new one joins the ``fresh``."""
        if event.action not in self._rules.place:
            return ActionReceipt(
                id=event.id, status="refused", why=f"action is {event.action!r:.120}: there is none such"
            )
        key = event.user, event.id
        before = self._seen.get(key) or fresh.get(key)
        if before is None:
            fresh[key] = event
            return ActionReceipt(id=event.id, status="accepted")
        if (before.kind, before.action) == (event.kind, event.action):
            return ActionReceipt(id=event.id, status="duplicate")
        return ActionReceipt(id=event.id, status="refused", why="id was used for another event; allowed is a new one")

    async def _kept(self, fresh: dict[_Key, ActionEvent]) -> dict[_Key, ActionReceipt]:
        """Keep new events; the receipts of those that the profiles did not count now: duplicate, late or refused."""
        records: dict[_Key, Happened] = {}
        if self._journal is not None:  # with what was known before the taking
            records = {key: await self._happened(self._journal, event) for key, event in fresh.items()}
        otherwise: dict[_Key, ActionReceipt] = {}
        taken = {key: event for key, event in fresh.items() if event.kind == "taken"}
        if self._profiles is not None and taken:
            told = await self._profiles.take([self._joined(event) for event in taken.values()])
            for (key, event), answer in zip(taken.items(), told, strict=True):
                if answer.status != "accepted":
                    otherwise[key] = ActionReceipt(id=event.id, status=answer.status, why=answer.why)
        if self._journal is not None:
            wanted = [record for key, record in records.items() if key not in otherwise]
            wanted += [_without_features(records[key]) for key in otherwise if otherwise[key].status == "duplicate"]
            if wanted:
                await self._journal.keep(wanted)
        return otherwise

    async def _happened(self, journal: ActionJournal, event: ActionEvent) -> Happened:
        """The event for the journal; one without a listing carries what is known of its user now."""
        when_ms = self._when(event)
        features: tuple[float, ...] | None = None
        if event.listing is None:
            profile = None if self._profiles is None else await self._profiles.profile(event.user)
            known = Profile(user=event.user) if profile is None else profile
            features = tuple(self._reader.vector(known, when_ms).tolist())
        return Happened(
            id=event.id, user=journal.hashed(event.user), kind=event.kind, action=event.action, time_ms=when_ms,
            listing=event.listing, features=features,
        )  # fmt: skip

    def _joined(self, event: ActionEvent) -> ConsumerEvent:
        name = hashlib.blake2b(event.id.encode(), digest_size=16, person=b"tribid-outcomes").hexdigest()
        return ConsumerEvent(
            id=f"action:{name}", kind="joined", user=event.user, action=event.action, time_ms=self._when(event)
        )

    def _when(self, event: ActionEvent) -> int:
        now = self._clock_ms()
        return now if event.time_ms is None else min(event.time_ms, now)


def _without_features(record: Happened) -> Happened:
    """A taking that the profile holds already, perhaps from a try whose record was lost: what was known before it is not

    to be had any more. Where the log has the record, that one counts.
    """
    return Happened(
        id=record.id, user=record.user, kind=record.kind, action=record.action, time_ms=record.time_ms,
        listing=record.listing,
    )  # fmt: skip


def _check(events: Sequence[ActionEvent]) -> None:
    """``ValueError`` for texts that cannot be kept; names the field."""
    for place, event in enumerate(events):
        for name in ("id", "user", "action", "listing"):
            text = getattr(event, name) or ""
            if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
                raise ValueError(f"$.events[{place}].{name} holds a NUL or half a character; allowed are texts without")
