"""Bodies of requests: read whole within a size and a time, and only of the type they should be."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tribid.ranker.service.errors import ServiceError
from tribid.ranker.service.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_READ_ON = 4
"""How many times the limit of a too large body is read and thrown away, so that its sender gets to read the answer."""


class HungUpError(Exception):
    """The client went away before its body was there: nobody is left to answer."""


async def read_body(scope: Scope, receive: Receive, settings: Settings) -> bytes:
    """The whole body, [0, ``max_body_bytes``] bytes, whatever length its headers claim.

    ``ServiceError``: 413 for a larger one, 408 for one that is not there after ``body_timeout_s``; both hang up.
    """
    limit = settings.max_body_bytes
    if _claimed(scope) > limit and header(scope, b"expect") is not None:
        raise _too_large(limit)  # the client asks before it sends
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise HungUpError
            body: bytes = message.get("body", b"")
            if not message.get("more_body", False) and len(body) <= limit:
                return body
            return await _read_rest(body, message, receive, limit)
    except TimeoutError:
        raise ServiceError(
            408, "", f"the body did not come within {settings.body_timeout_s:g} seconds", hang_up=True
        ) from None


async def _read_rest(body: bytes, message: Message, receive: Receive, limit: int) -> bytes:
    parts, size = [body], len(body)
    while message.get("more_body", False) and size <= _READ_ON * limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUpError
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        else:
            parts.clear()
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _too_large(limit: int) -> ServiceError:
    return ServiceError(413, "$", f"the body is larger than the {limit} bytes that are allowed", hang_up=True)


def _claimed(scope: Scope) -> int:
    """The body's length by its header; 0 where there is none, or none that is a number."""
    told = header(scope, b"content-length") or b"0"
    return int(told) if told.isdigit() and len(told) < 20 else 0


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this (lower-case) name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


_ELSEWHERE = (b"cross-site", b"same-site")
"""What browsers that name no ``Origin``, as for pictures, say of requests that another site's page made."""


def check_origin(scope: Scope) -> None:
    """``ServiceError`` 403 for a request that a web page of another site sends: its ``Origin`` is not our ``Host``."""
    origin = header(scope, b"origin")
    if origin is None and header(scope, b"sec-fetch-site") in _ELSEWHERE:
        raise ServiceError(
            403, "sec-fetch-site", "allowed are this server's own pages, and callers that are no web page"
        )
    if origin is None:
        return
    site = origin.partition(b"://")[2].lower()
    if not site or site != (header(scope, b"host") or b"").lower():
        raise ServiceError(403, "origin", "allowed are this server's own pages, and callers that are no web page")


def check_json_type(scope: Scope) -> None:
    """``ServiceError`` 415 unless the body is said to be JSON, which no web page can send without asking first; and 403
    where a web page of another site sends it.
    """
    check_origin(scope)
    told = header(scope, b"content-type")
    if told == b"application/json":
        return
    if told is None or told.split(b";", 1)[0].strip().lower() != b"application/json":
        raise ServiceError(
            415, "content-type", "allowed is application/json; with curl, add -H 'content-type: application/json'"
        )
