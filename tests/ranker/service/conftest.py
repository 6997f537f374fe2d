"""A real ranker of the tiny scenario behind the service: in this process, or on a port of its own in a thread."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest

from tribid.ranker.live import LiveRanker
from tribid.ranker.service.app import make_app
from tribid.ranker.service.server import Door, Server
from tribid.ranker.service.serving import Opener
from tribid.ranker.service.settings import Settings


async def open_tiny(policies: Mapping[str, str] | None = None, **more: Any) -> LiveRanker:
    """The tiny scenario, served by two of its rules."""
    return await LiveRanker.open("tiny", policies or {"pid": "pid", "truthful": "truthful"}, **more)


@asynccontextmanager
async def _ranker(settings: Settings | None = None, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    live = await open_tiny(**more)
    transport = httpx.ASGITransport(make_app(live, settings=settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    await live.close()


@pytest.fixture
def ranker() -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """``async with ranker(settings) as http``: a client of a fresh ranker in this process."""
    return _ranker


class ThreadedServer:
    """A server in a thread: where it listens, and how to stop it."""

    def __init__(self, settings: Settings, opener: Opener) -> None:
        self.door = Door(settings)
        self.port, self.address = self.door.port, self.door.address
        self.app: Any = make_app(opener, settings=settings)
        ready = threading.Event()
        self.server = Server(self.app, self.app.serving, lambda live: ready.set())
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.door.socket]}, daemon=True)
        self._thread.start()
        assert ready.wait(60)

    def stop(self) -> None:
        """Leave in good order; more than once does no harm."""
        self.server.should_exit = True
        self._thread.join(60)
        self.door.socket.close()
        assert not self._thread.is_alive()


@contextmanager
def _server(opener: Opener = open_tiny, **settings: Any) -> Iterator[ThreadedServer]:
    running = ThreadedServer(Settings(port=0, **settings), opener)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server() -> Callable[..., AbstractContextManager[ThreadedServer]]:
    """``with server(header_timeout_s=1) as running``: a server in a thread, on a port of its own."""
    return _server
