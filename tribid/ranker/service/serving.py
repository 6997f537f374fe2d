"""``Serving``: the ranker behind the service, from opening to closing, and whether it may be asked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tribid.envs.journey.config import JourneyWorld
from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.live import LiveRanker
from tribid.ranker.service.errors import ServiceError
from tribid.ranker.service.settings import Settings

Opener = Callable[[], Awaitable[LiveRanker]]
ConsumersOpener = Callable[[], Awaitable[Consumers]]
OnOpen = Callable[[LiveRanker, Consumers | None], None]

_log = logging.getLogger("tribid.ranker.service")


class Serving:
    """A ``LiveRanker``, or what opens one, with its background work.

    ``consumers`` opens what is known of consumers, if the service keeps that; it is there before the ranker is.
    ``on_open`` is called with both as soon as there is a ranker. ``failure`` is what stopped the opening or the
    background work: ``/readyz`` stays 503 from then on. Whoever runs the service may end it and raise that, as ``serve``
    does; it is logged where nobody has ended it within ``shutdown_s`` and half a second.
    """

    def __init__(
        self, live: LiveRanker | Opener, settings: Settings, on_open: OnOpen,
        consumers: Consumers | ConsumersOpener | None = None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.live: LiveRanker | None = None
        self.consumers: Consumers | None = None
        self._consumers_opener: ConsumersOpener | None = None
        if isinstance(consumers, Consumers):
            self.consumers = consumers
        else:
            self._consumers_opener = consumers
        self.stopping = False
        self.failure: BaseException | None = None
        self._on_open = on_open
        self._opener: Opener | None = None
        self._work: asyncio.Task[None] | None = None
        if callable(live):
            self._opener = live
        else:
            self._have(live)

    def why_not_ready(self) -> str:
        """Why the ranker may not be asked; empty where it may."""
        if self.stopping:
            return "shutting down"
        if self.failure is not None:
            return "stopped by an error; the server's log has it"
        if self.live is None:
            return "opening policies and ledger"
        if self.live.trouble:
            return "the ledger or the clock fails; the server's log has it"
        return "profiles cannot be kept; the server's log has it" if self.consumers and self.consumers.trouble else ""

    def ranker(self) -> LiveRanker:
        """The ranker; ``ServiceError`` 503 before it is open and after its background work failed.

        While shutting down it still answers what came in before the door closed.
        """
        if self.live is None or self.failure is not None:
            raise ServiceError(503, "", f"not ready: {self.why_not_ready()}", headers={"retry-after": "1"})
        return self.live

    async def start(self) -> None:
        """Open the ranker and keep its clock, in the background."""
        self._work = asyncio.create_task(self._run(), name="tribid-ranker")

    async def stop(self) -> None:
        """Stop the background work and close the ranker: ledger and all."""
        self.stopping = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        if self.live is not None:
            await self.live.close()
        if self.consumers is not None:
            await self.consumers.close()

    async def _run(self) -> None:
        try:
            if self._consumers_opener is not None:
                self.consumers = await self._consumers_opener()
            if self._opener is not None:
                self._have(await self._opener())
            assert self.live is not None
            await self.live.tend()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failure = error
            await asyncio.sleep(self.settings.shutdown_s + 0.5)  # cancelled where the service ends
            _log.error("%s: %s", "opening failed" if self.live is None else "background work failed", error)

    def _have(self, live: LiveRanker) -> None:
        self.live = live
        if self.consumers is not None and isinstance(live.scenario.world, JourneyWorld):
            live.known_of = self.consumers.known
        self._on_open(live, self.consumers)
