"""What a user is shown when they ask what is held about them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs

from tribid.ranker.profile.record import Record

_WAITING = ("id", "trigger", "item", "cause_ms", "since_ms", "due_ms")


def exported(record: Record, log: Sequence[dict[str, Any]] = ()) -> bytes:
    """All of a record, and what a log holds of the user, as indented JSON; times are Unix milliseconds.

    ``events`` are the hashes by which counted events are known again, and their times; ``settled`` the causes that were
    answered by a message or by none.
    """
    told = {
        "user": record.profile.user,
        "profile": structs.asdict(record.profile),
        "events": [{"hash": f"{name:016x}", "time_ms": time_ms} for name, time_ms in record.ids.items()],
        "interests": record.interests,
        "waiting": [{name: getattr(one, name) for name in _WAITING} for one in record.waiting.values()],
        "messages": [structs.asdict(message) for message in record.outbox.values()],
        "settled": [
            {"id": name, "trigger": trigger, "cause_ms": cause_ms, "at_ms": at_ms}
            for name, (trigger, cause_ms, at_ms) in record.settled.items()
        ],
        "log": list(log),
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"
