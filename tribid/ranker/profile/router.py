"""Profiles and messages over HTTP: bytes in, bytes out, and the routes around them.

    POST   /v1/events               its field ``consumers`` (see ``ProfileEndpoints.take``)
    GET    /v1/profile/{user}       the profile and its stages; with ?export=true all that is held about the user
    DELETE /v1/profile/{user}       erase the user's data; answers when they are gone
    GET    /v1/messages             messages to be sent, ?limit= of them
    POST   /v1/messages:ack         {"ids": [...]}: they were sent

All of them need the service's token where it has one.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, get_args
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs

from tribid.envs.stages import stage_of
from tribid.ranker.messages import Name
from tribid.ranker.profile.errors import ProfileDamageError, ProfilesUnavailableError
from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message, Profile
from tribid.ranker.service.bodies import check_json_type
from tribid.ranker.service.errors import ServiceError, own_fault
from tribid.refusals import JsonDecoder

if TYPE_CHECKING:
    from starlette.routing import Route

MAX_MESSAGES = 1_000
_DEFAULT = 100


StageName = Literal["unaware", "aware", "interested", "purchased", "loyal"]
"""One of ``tribid.envs.stages.STAGES``."""


class ShownProfile(Profile, kw_only=True):
    """A profile as it is answered: ``stages`` names each brand's stage, which follows from its marks and is not stored."""

    stages: dict[str, StageName]


class Messages(Struct, frozen=True):
    """Messages that are to be sent."""

    messages: tuple[Message, ...]


class Acknowledgement(Struct, frozen=True, forbid_unknown_fields=True):
    """The messages that were sent."""

    ids: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]


class Acknowledged(Struct, frozen=True):
    """How many of the messages were known and had not been acknowledged."""

    acknowledged: int


class ErasedData(Struct, frozen=True):
    """Whether anything was held about the user."""

    erased: bool


_ACK = JsonDecoder(Acknowledgement)
_ENCODE = msgspec.json.Encoder().encode


class ProfileEndpoints:
    """What the addresses answer, as JSON; ``ServiceError`` is what else they answer."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Receipts of the consumers' part of a batch of events."""
        with _reached():
            return await self._store.take(events) if events else []

    async def profile(self, user: str, query: bytes) -> bytes:
        """A user's ``ShownProfile``, or the export; 404 for nobody known."""
        name = _user(user)
        wants_all = _parameter(query, "export", "false")
        if wants_all not in ("true", "false"):
            raise ServiceError(422, "export", f"export is {wants_all!r:.60}; allowed is true or false")
        with _reached():
            if wants_all == "true":
                found = await self._store.export(name)
            else:
                profile = await self._store.profile(name)
                found = None if profile is None else _ENCODE(shown_profile(profile))
        if found is None:
            raise ServiceError(404, "user", "nothing is known of this user")
        return found

    async def erase(self, user: str, query: bytes) -> bytes:
        """Erase a user; also where nothing was known of them."""
        name = _user(user)
        _parameter(query, "", "")
        with _reached():
            return _ENCODE(ErasedData(await self._store.erase(name)))

    async def messages(self, query: bytes) -> bytes:
        """Messages that are to be sent, the oldest first."""
        limit = _parameter(query, "limit", str(_DEFAULT))
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_MESSAGES):
            raise ServiceError(422, "limit", f"limit is {limit!r:.60}; allowed is 1 to {MAX_MESSAGES}")
        with _reached():
            return _ENCODE(Messages(tuple(await self._store.messages(int(limit)))))

    async def acknowledge(self, body: bytes) -> bytes:
        """Messages were sent."""
        ids = _ACK.decode(body).ids
        with _reached():
            return _ENCODE(Acknowledged(await self._store.acknowledge(ids)))


def shown_profile(profile: Profile) -> ShownProfile:
    """The profile with its brands' stages.

    >>> shown_profile(Profile(user="ann", marks={"acme": 2})).stages
    {'acme': 'interested'}
    """
    stages = stage_of(np.fromiter(profile.marks.values(), np.int64, len(profile.marks)))
    names = get_args(StageName)
    named = {brand: names[stage] for brand, stage in zip(profile.marks, stages.tolist(), strict=True)}
    return ShownProfile(**structs.asdict(profile), stages=named)


def profile_routes(store: ProfileStore) -> "list[Route]":
    """The routes of a store, for the service's application, which answers the errors that they raise."""
    try:
        from starlette.convertors import PathConvertor, register_url_convertor
        from starlette.requests import Request
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError("serving profiles needs FastAPI: pip install 'tribid[serve]'") from error
    endpoints = ProfileEndpoints(store)

    class Anything(PathConvertor):
        """The rest of an address to its last character; ``path`` leaves out a line's end there, and takes none inside."""

        regex = "(?s:.*)"

    register_url_convertor("anything", Anything())

    def json(answer: Callable[[Request], Awaitable[bytes]]) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            return Response(await answer(request), media_type="application/json", headers={"cache-control": "no-store"})

        return answered

    async def profile(request: Request) -> bytes:
        return await endpoints.profile(request.path_params["user"], request.scope["query_string"])

    async def erase(request: Request) -> bytes:
        return await endpoints.erase(request.path_params["user"], request.scope["query_string"])

    async def messages(request: Request) -> bytes:
        return await endpoints.messages(request.scope["query_string"])

    async def acknowledge(request: Request) -> bytes:
        check_json_type(request.scope)
        return await endpoints.acknowledge(await request.body())

    return [
        Route("/v1/profile/{user:anything}", json(profile), methods=["GET"], include_in_schema=False),
        Route("/v1/profile/{user:anything}", json(erase), methods=["DELETE"], include_in_schema=False),
        Route("/v1/messages", json(messages), methods=["GET"], include_in_schema=False),
        Route("/v1/messages:ack", json(acknowledge), methods=["POST"], include_in_schema=False),
    ]


@contextmanager
def _reached() -> Iterator[None]:
    """Answers for a store that cannot be used: 503, and 500 where it is damaged, which tells nothing of what is in it."""
    try:
        yield
    except ProfilesUnavailableError:
        raise ServiceError(503, "", "the profiles are not available", headers={"retry-after": "1"}) from None
    except ProfileDamageError:
        raise own_fault() from None


def _user(name: str) -> str:
    if not 0 < len(name) <= 200 or "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ServiceError(422, "user", "allowed are texts of 1 to 200 characters without NUL")
    return name


def _parameter(query: bytes, name: str, default: str) -> str:
    """The one parameter that is allowed; ``ServiceError`` 422 for another one, or for it twice."""
    if not query:
        return default
    told = f"allowed is ?{name}=" if name else "allowed is none"
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=8)
    except ValueError:
        raise ServiceError(422, "query", told) from None
    if len(pairs) != 1 or pairs[0][0] != name:
        raise ServiceError(422, "query", told)
    return pairs[0][1]
