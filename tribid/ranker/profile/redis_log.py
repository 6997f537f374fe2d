"""The log of counted events in Redis: what is written of each, what it holds of one user, and how that is removed."""

import asyncio
import secrets
from typing import Any

from tribid.ranker.profile.messages import ConsumerEvent
from tribid.ranker.profile.redis_link import RedisLink

_AT_ONCE = 1000
_LOCK_MS = 600_000
_POLL_S = 0.02


def log_fields(token: str, event: ConsumerEvent) -> list[str]:
    """An event's entry, names and values in turn; its user by the token, its id not at all."""
    told = ["user", token, "kind", event.kind, "time_ms", str(event.time_ms)]
    for name in ("item", "brand", "category", "action", "channel"):
        value = getattr(event, name)
        if value is not None:
            told += [name, str(value)]
    return told


async def logged(link: RedisLink, token: str) -> list[dict[str, str]]:
    """The entries about one user; reads the whole log."""
    found: list[dict[str, str]] = []
    start = "-"
    while entries := await _some(link, start):
        of_user = (fields for _, fields in entries if fields[b"user"] == token.encode())
        found += [{key.decode(): value.decode() for key, value in fields.items()} for fields in of_user]
        start = f"({entries[-1][0].decode()}"
    return found


async def remove_logged(link: RedisLink, token: str) -> bool:
    """Write the log anew without one user's entries; whether there were any.

    A deleted entry of a stream stays in Redis's memory and files until all around it are deleted, too. Groups that follow
    the log go on after what they were delivered last.
    """
    if not await logged(link, token):
        return False
    client, lock, copy = link.client, f"{link.keys.log}:lock", f"{link.keys.log}:copy"
    name = secrets.token_hex(8)
    with link.reached():
        while not await client.set(lock, name, nx=True, px=_LOCK_MS):
            await asyncio.sleep(_POLL_S)  # two copies at once would each bring back what the other one leaves out
        try:
            await client.delete(copy)
            last = "-"
            while entries := await _some(link, last):
                async with client.pipeline(transaction=False) as pipe:
                    for entry, fields in entries:
                        if fields[b"user"] != token.encode():
                            pipe.xadd(copy, fields, id=entry)
                    await pipe.execute()
                last = f"({entries[-1][0].decode()}"
            await link.swap_log([link.keys.log, copy, lock], [last, token, name])
        finally:
            if await client.get(lock) == name.encode():
                await client.delete(lock)
    return True


async def _some(link: RedisLink, start: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    with link.reached():
        entries: list[Any] = await link.client.xrange(link.keys.log, start, "+", count=_AT_ONCE)
    return entries
