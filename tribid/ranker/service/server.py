"""Run the service: one process, one event loop, until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from tribid.ranker.service.app import make_app
from tribid.ranker.service.protocol import protocol_of
from tribid.ranker.service.serving import ConsumersOpener, Opener, Serving
from tribid.ranker.service.settings import LOOPBACK_HOSTS, Settings, is_loopback

try:
    import uvicorn
    from prometheus_client import disable_created_metrics
except ImportError as missing:  # pragma: no cover
    raise ImportError("the HTTP service needs uvicorn: pip install 'tribid[serve]'") from missing

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from tribid.ranker.live import LiveRanker
    from tribid.ranker.openrtb.bidder import OpenRtbSettings

_BACKLOG = 2_048
_SPARE_FILES = 64
_SWITCH_S = 0.0005
"""How long a thread waits until the interpreter is taken from another for it, instead of Python's 5 ms: the ledger's thread
needs it a few times for each commit, and every answer waits for its commit."""

_GC_AFTER = 1_000
"""Objects between two collections: each looks at that many, which takes 0.4 ms. With 10,000 everybody waits 4 ms, and the
99th percentile of 1,000 requests a second shows it."""

_OLD_GC_AFTER = 1_000
"""Middle collections between two of everything, instead of Python's 10: one of those stops a server with learnt parts for
100 ms, and its answers leave no cycles behind."""

_log = logging.getLogger("tribid.ranker.service")


def serve(
    opener: Opener,
    settings: Settings,
    *,
    tell: Callable[[str, "LiveRanker"], None],
    openrtb: "OpenRtbSettings | None" = None,
    consumers: ConsumersOpener | None = None,
    collectors: Sequence["Collector"] = (),
) -> None:
    """Open the ranker and answer requests until SIGTERM or SIGINT; then finish what is in flight and close everything.

    ``tell`` is called with the address (``http://127.0.0.1:8080``) and the ranker once it is ready; ``openrtb``,
    ``consumers`` and ``collectors`` are ``make_app``'s. What stops the opening or the background work is raised.
    ``ValueError`` where others than this machine could connect without a token; ``OSError`` where the port is taken.
    """
    settings.check_open_to()
    sys.setswitchinterval(_SWITCH_S)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # times of creation, of no use to anybody who watches a service
    with Door(settings) as door:
        app = make_app(
            opener, settings=_trusting(settings), openrtb=openrtb, consumers=consumers, collectors=collectors
        )
        serving: Serving = app.serving  # type: ignore[attr-defined]
        server = Server(app, serving, lambda live: tell(door.address, live))
        server.run(sockets=[door.socket])
    if serving.failure is not None:
        raise serving.failure


class Door:
    """The listening socket of the settings' host and port, a context manager; ``address`` is what clients call it."""

    def __init__(self, settings: Settings) -> None:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self.socket = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
        host, self.port = self.socket.getsockname()[:2]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()


def _trusting(settings: Settings) -> Settings:
    """The settings with a check of ``Host`` where nothing else keeps web pages out: on loopback, without a token."""
    if settings.hosts or settings.token is not None or not is_loopback(settings.host):
        return settings
    return replace(settings, hosts=LOOPBACK_HOSTS)


def _config(app: Any, settings: Settings) -> uvicorn.Config:
    room = _file_limit() - _SPARE_FILES
    if room < settings.max_connections:
        _log.warning("the system allows %d open files: taking at most %d connections", room + _SPARE_FILES, room)
        settings = replace(settings, max_connections=max(1, room))
    return uvicorn.Config(
        app, http=protocol_of(settings), loop="uvloop", ws="none", lifespan="on", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, backlog=_BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # seconds for loop.call_later
        timeout_graceful_shutdown=settings.shutdown_s,  # type: ignore[arg-type]  # seconds for asyncio.wait_for
    )  # fmt: skip


def _file_limit() -> int:
    """How many files this process may hold open, after asking for as many as it may have."""
    try:
        import resource
    except ImportError:  # no such limit, as on Windows
        return 1 << 20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Server(uvicorn.Server):
    """uvicorn's server, which leaves when the ranker fails, drains before it closes the door, and exits with 0.

    ``when_ready`` is called with the ranker once it is open.
    """

    def __init__(self, app: Any, serving: Serving, when_ready: Callable[["LiveRanker"], None]) -> None:
        super().__init__(_config(app, serving.settings))
        self._serving = serving
        self._close_at: float | None = None
        self._when_ready: Callable[[LiveRanker], None] | None = when_ready

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to leave now."""
        leave = await super().on_tick(counter)
        serving = self._serving
        if self._when_ready is not None and serving.live is not None:
            gc.collect()
            gc.freeze()  # what was loaded stays: no collection needs to look at it again
            gc.set_threshold(_GC_AFTER, 10, _OLD_GC_AFTER)
            self._when_ready(serving.live)
            self._when_ready = None
        if serving.failure is not None:
            return True
        if not leave:
            return False
        if self._close_at is None:
            serving.stopping = True
            self._close_at = monotonic() + serving.settings.drain_s
        return self.force_exit or monotonic() >= self._close_at

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave on SIGTERM and SIGINT; the second SIGINT does not wait. The process ends as after any work well done.

        Outside the main thread, which alone gets signals, the server leaves when ``should_exit`` is set.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self.handle_exit, one, None)
        try:
            yield
        finally:
            for one in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(one)
