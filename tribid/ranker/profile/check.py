"""``check_store``: whether the parts of a store agree with each other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.record import HELD, ORDERS, SENT, VIEWED, Record

_MOST_TOLD = 20


@dataclass
class ProfileReport:
    """What was counted, and what is wrong; a problem names its user by their token."""

    users: int = 0
    events: int = 0
    waiting: int = 0
    messages: int = 0
    problems: list[str] = field(default_factory=list)


@runtime_checkable
class Readable(Protocol):
    """A store that can be read whole."""

    def records(self) -> AsyncIterator[Record]:
        """Every record, one after another."""
        ...

    def token(self, user: str) -> str:
        """A user as everything but the profiles names them."""
        ...

    async def findings(self) -> list[str]:
        """What of the store's own is wrong beside its records."""
        ...


async def check_store(store: ProfileStore) -> ProfileReport:
    """Read every record and say which contradict themselves, at most 20; ``ProfileDamageError`` for one unreadable."""
    if not isinstance(store, Readable):
        raise ValueError(f"a {type(store).__name__} cannot be read whole")
    report = ProfileReport()
    async for record in store.records():
        report.users += 1
        report.events += len(record.ids)
        report.waiting += len(record.waiting)
        report.messages += len(record.outbox)
        if len(report.problems) < _MOST_TOLD:
            report.problems += [f"user {store.token(record.profile.user)}: {told}" for told in _problems(record)]
    report.problems += await store.findings()
    return report


def _problems(record: Record) -> list[str]:
    profile, found = record.profile, []
    for name, most in (("viewed", VIEWED), ("orders", ORDERS), ("sent", SENT), ("favourites", HELD)):
        if len(getattr(profile, name)) > most:
            found.append(f"{name} has {len(getattr(profile, name))} entries; allowed is at most {most}")
    if profile.version < len(record.ids):
        found.append(f"version is {profile.version}, but {len(record.ids)} events were counted")
    if not profile.first_ms <= profile.last_ms:
        found.append(f"first_ms is {profile.first_ms} and last_ms {profile.last_ms}; allowed is that order")
    if profile.cart.keys() & profile.removed.keys():
        found.append("an item is in the cart and removed from it")
    if profile.actions.keys() & profile.left.keys():
        found.append("an action is taken and given up")
    if record.settled.keys() & record.waiting.keys():
        found.append("a cause is settled and still waits")
    if record.outbox.keys() - record.settled.keys():
        found.append("a message is to be sent for a cause that was not settled")
    if profile.refused and (record.outbox or record.waiting):
        found.append("the user opted out, but messages are to be sent")
    if any(message.user != profile.user for message in record.outbox.values()):
        found.append("a message is another user's")
    return found
