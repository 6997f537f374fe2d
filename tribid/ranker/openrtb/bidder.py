"""``OpenRtbBidder``: a bid request's bytes to a reply: read, let in, ranked once, bid for, and what is left let go."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tribid.envs.scenario import Scenario
from tribid.envs.worlds import FeedWorld
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.live import Closed, Conflict
from tribid.ranker.messages import MAX_CANDIDATES, Decision, Event, Offer, Receipt, Request
from tribid.ranker.openrtb.answers import Answer, AnswerBook, NoBid, Reply, content_key
from tribid.ranker.openrtb.bidding import Desk, answer, currency_of, places
from tribid.ranker.openrtb.config import BidderConfig, default_config
from tribid.ranker.openrtb.messages import BidRequest, BidResponse, decode_bid_request, encode_bid_response
from tribid.ranker.openrtb.notices import Notices
from tribid.ranker.openrtb.roster import Roster
from tribid.ranker.openrtb.tickets import Signer
from tribid.ranker.openrtb.visitor import name_of, user_of
from tribid.ranker.scenes import first_scene, rules_by_scene

TECHNICAL_ERROR, INVALID_REQUEST, UNMATCHED_USER, INSUFFICIENT_TIME = 1, 2, 8, 15
"""No-bid reasons of OpenRTB 3.0's list."""

LOOPBACK = "http://127.0.0.1:8080"
"""Where notices lead where nobody says where the bid request came in."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class OpenRtbSettings:
    """How a ranker is offered to exchanges.

    ``config`` None makes every advertiser up from its name. ``secret`` (16 bytes or more) signs notices; left out, it is
    drawn for this process, and notices of bids made before a restart are refused. ``hold_ms`` is the live ranker's.
    ``user_key`` keys the hash of users. ``now_ms`` is the wall clock, ``clock_s`` one that never goes backwards.
    """

    config: BidderConfig | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    hold_ms: int = 600_000
    user_key: bytes = field(default=b"", repr=False)
    max_body_bytes: int = 1_048_576
    now_ms: Callable[[], int] = _wall_ms
    clock_s: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        for name, value, least in (("hold_ms", self.hold_ms, 1_000), ("max_body_bytes", self.max_body_bytes, 1_024)):
            if value < least:
                raise ValueError(f"{name} is {value}; allowed is from {least} on")
        Signer(self.secret)  # refuses a secret that is too short
        if len(self.user_key) > 64:
            raise ValueError(f"user_key has {len(self.user_key)} bytes; allowed are up to 64")


class Live(Protocol):
    """The part of the live ranker that a bidder uses."""

    @property
    def scenario(self) -> Scenario: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    async def rank(self, request: Request) -> Decision: ...
    async def events(self, events: Sequence[Event]) -> list[Receipt]: ...
    async def release(self, holds: Sequence[str]) -> int: ...


class _NoBid(Exception):  # noqa: N818
    """Ends the work on a request that gets no bid."""

    def __init__(self, why: str, nbr: int | None = None) -> None:
        super().__init__(why)
        self.told = NoBid(why, nbr)


class OpenRtbBidder:
    """Answers bid requests out of one live ranker. ``counts`` is how many requests ended how; ``notices`` has its own."""

    def __init__(self, live: Live, settings: OpenRtbSettings | None = None) -> None:
        self.settings = settings if settings is not None else OpenRtbSettings()
        config = self.settings.config if self.settings.config is not None else default_config(live.names)
        missing = [name for name in live.names if name not in config.buyers]
        if missing:
            raise ValueError(f"the OpenRTB config has no advertiser {missing[0]!r} of scenario {live.scenario.name}")
        world = live.scenario.world
        if not isinstance(world, FeedWorld):
            raise ValueError(f"scenario {live.scenario.name} is no feed; a bidder offers the ads of a feed or a shop")
        self.config, self.counts, self._live, self._users = config, Counter[str](), live, world.users.count
        self.signer = Signer(self.settings.secret)
        self.notices = Notices(live, self.settings.now_ms)
        self._roster = Roster(config, live.names)
        self.desk = Desk(
            config=config,
            roster=self._roster,
            rules=rules_by_scene(live.scenario)[first_scene(live.scenario)],
            signer=self.signer,
            exp_s=self.settings.hold_ms // 1_000,
            url=config.url,
        )
        self._book = AnswerBook(self.settings.hold_ms, self.settings.now_ms)

    async def reply(self, content: bytes, received_s: float | None = None, address: str = "") -> Reply:
        """Answer a bid request; ``received_s`` is when it began to come in, by the settings' ``clock_s``.

        ``address`` is where it came in: notices lead there, unless the config has a ``public_url``.
        """
        began_s = self.settings.clock_s() if received_s is None else received_s
        try:
            request = decode_bid_request(content)
        except ValueError as error:
            self.counts["malformed"] += 1
            return Reply(400, why=str(error))
        try:
            left_ms = self._checked(request, began_s)
            told = await self._booked(request, left_ms, began_s, address)
        except _NoBid as no_bid:
            told = no_bid.told
        return told if isinstance(told, Reply) else self._no_bid(request, told)

    def landing(self, ad: int) -> str:
        """Where a click on an advertiser's ad leads."""
        return str(self._roster.buyers[ad].landing)

    def _checked(self, request: BidRequest, began_s: float) -> float | None:
        """The milliseconds that are left to answer (None: any), where the request can be bid for at all."""
        if sum(kind is not None for kind in (request.site, request.app, request.dooh)) > 1:
            raise _NoBid("more than one of site, app and dooh", INVALID_REQUEST)
        if len({imp.id for imp in request.imp}) < len(request.imp):
            raise _NoBid("an imp id stands twice", INVALID_REQUEST)
        if request.at not in self.config.auction_types:
            raise _NoBid(f"auction type {request.at}")
        if currency_of(self.config, request) is None:
            raise _NoBid("no currency in common")
        if not places(request):
            raise _NoBid("no banner or native imp")
        if self.config.unknown_user == "no_bid" and name_of(request) is None:
            raise _NoBid("the request names no user", UNMATCHED_USER)
        left_ms = self._left_ms(request, began_s)
        if left_ms is not None and left_ms < self.config.least_ms:
            raise _NoBid("tmax leaves too little time", INSUFFICIENT_TIME)
        return left_ms

    def _left_ms(self, request: BidRequest, began_s: float) -> float | None:
        if request.tmax is None:
            return None
        return request.tmax - self.config.network_ms - (self.settings.clock_s() - began_s) * 1_000

    async def _booked(self, request: BidRequest, left_ms: float | None, began_s: float, address: str) -> Answer:
        """The answer in the book, or a new one; whoever else asks the same meanwhile gets the same."""
        key = content_key(request)
        entry = self._book.of(key)
        if entry is None:
            entry = self._book.open(key, lambda numbers: self._decided(request, numbers, left_ms, began_s, address))
        elif self._book.is_over(entry):
            raise _NoBid("this request was answered before, and its bids are over", INVALID_REQUEST)
        try:
            return await entry.answer()
        except (Closed, LedgerUnavailableError) as error:
            raise _NoBid(f"the ranker is not available: {error}", TECHNICAL_ERROR) from None

    async def _decided(
        self, request: BidRequest, numbers: Iterator[int], left_ms: float | None, began_s: float, address: str
    ) -> Answer:
        desk = self.desk if self.desk.url else replace(self.desk, url=address or LOOPBACK)
        try:
            response = await self._bid(request, numbers, left_ms, began_s, desk)
        except _NoBid as no_bid:
            return no_bid.told
        self.counts["bid"] += 1
        return Reply(200, encode_bid_response(response))

    async def _bid(
        self, request: BidRequest, numbers: Iterator[int], left_ms: float | None, began_s: float, desk: Desk
    ) -> BidResponse:
        allowed = self._roster.allowed(request)
        currency = currency_of(self.config, request)
        if not allowed or currency is None:
            raise _NoBid("every advertiser is blocked")
        expires_ms = self.settings.now_ms() + self.settings.hold_ms
        decision = await self._rank(request, allowed, numbers, left_ms)
        told = answer(desk, request, decision, allowed, currency, expires_ms)
        late_ms = self._left_ms(request, began_s)
        is_late = late_ms is not None and late_ms < 0
        kept = () if is_late or request.test else told.slots
        idle = [f"{decision.id}.{slot.slot}" for slot in decision.slots if slot.slot not in kept]
        if idle:
            await self._live.release(idle)
        if is_late:
            raise _NoBid("tmax was over before the answer was", INSUFFICIENT_TIME)
        if told.response is None:
            raise _NoBid("no ad reaches an imp's floor or fits it" if decision.slots else "no advertiser bids")
        return told.response

    async def _rank(
        self, request: BidRequest, allowed: frozenset[int], numbers: Iterator[int], left_ms: float | None
    ) -> Decision:
        offers = None
        if not self._roster.is_everybody(allowed) and len(allowed) <= MAX_CANDIDATES:
            offers = tuple(Offer(self._roster.names[ad]) for ad in sorted(allowed))
        user = user_of(name_of(request), self._users, self.settings.user_key)
        timeout_ms = None if left_ms is None else min(left_ms, 60_000.0)
        for number in numbers:
            try:
                return await self._live.rank(
                    Request(request=number, user=user, candidates=offers, timeout_ms=timeout_ms)
                )
            except Conflict:
                self.counts["conflict"] += 1
        raise _NoBid("no page number was free", TECHNICAL_ERROR)

    def _no_bid(self, request: BidRequest, no_bid: NoBid) -> Reply:
        self.counts[f"no_bid.{no_bid.nbr if no_bid.nbr is not None else 'other'}"] += 1
        if self.config.no_bid == "empty":
            return Reply(200, b"{}", no_bid.why)
        if self.config.no_bid == "204" or no_bid.nbr is None:
            return Reply(204, why=no_bid.why)
        return Reply(200, encode_bid_response(BidResponse(request.id, nbr=no_bid.nbr)), no_bid.why)
