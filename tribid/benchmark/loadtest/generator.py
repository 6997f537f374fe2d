"""The load generator: every request is due at its time, whatever became of those before (an open loop).

A closed loop, which sends the next request when the last is answered, asks little of a server that hangs, and so reports
few of the waits that its users would have had (Tene's "coordinated omission"). Here a request that finds the server
hanging, or all connections taken, keeps its due time, and its latency counts from there.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tribid.benchmark.loadtest.arrivals import ARRIVALS
from tribid.benchmark.loadtest.asks import Asks
from tribid.benchmark.loadtest.clicks import Clicker
from tribid.benchmark.loadtest.load import Load
from tribid.benchmark.loadtest.samples import BROKEN, TIMEOUT, UNREACHABLE, UNREADABLE, Clicks, Samples

Tell = Callable[[int, int, str], None]
"""Told how many requests are done, of how many, and what went wrong so far."""

_LARGE = 1 << 20
"""Bytes beyond which a body is handed to the client as a stream."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load measured; ``cpu_share`` of one core is what the generator itself used."""

    load: Load
    samples: Samples
    clicks: Clicks
    cpu_share: float


def run_load(load: Load, asks: Asks, tell: Tell | None = None) -> Loaded:
    """Send the load and wait for its answers, at most ``timeout_s`` after the last request was due.

    Needs aiohttp (``ImportError`` names the extra).
    """
    try:
        import aiohttp  # noqa: F401  # to fail before anything is begun
    except ImportError:
        raise ImportError("a load test needs aiohttp: pip install 'tribid[loadtest]'") from None
    return asyncio.run(Generator(load, asks, tell or (lambda done, total, note: None)).run())


class Generator:
    """One run of a load; see ``run_load``."""

    def __init__(self, load: Load, asks: Asks, tell: Tell) -> None:
        self._load, self._asks, self._tell = load, asks, tell
        rng = np.random.default_rng(load.seed)
        self._samples = Samples.of(ARRIVALS[load.arrivals](load.rate, load.warmup + load.seconds, rng))
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._done = 0
        self._all_done = asyncio.Event()
        self._failed = 0
        self._start = 0.0

    async def run(self) -> Loaded:
        """Send everything at its time; see ``run_load``."""
        import aiohttp

        load, count = self._load, len(self._samples.due)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=load.timeout_s)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=load.headers, auto_decompress=False
        ) as session:
            clicker = Clicker(load, session)
            cpu = time.process_time()
            self._start = time.perf_counter() + 0.05
            pacer = Pacer(self._samples.due.tolist(), self._start, asyncio.get_running_loop(), self._begin)
            tasks = [asyncio.create_task(self._connection(session, clicker)) for _ in range(load.connections)]
            tasks.append(asyncio.create_task(self._report()))
            clicker.start()
            pacer.start()
            try:
                if count:
                    await self._wait(self._start + load.warmup + load.seconds + load.timeout_s)
            finally:
                pacer.stop()
                await _ended(tasks)
            samples, share = self._samples.closed(self._now()), (time.process_time() - cpu) / max(self._now(), 1e-9)
            clicks = await clicker.finish()
        self._tell(self._done, count, self._note())
        return Loaded(load=load, samples=samples.since(load.warmup), clicks=clicks, cpu_share=share)

    def _now(self) -> float:
        return time.perf_counter() - self._start

    async def _wait(self, until: float) -> None:
        with contextlib.suppress(TimeoutError):  # what has no answer by then is counted as such
            await asyncio.wait_for(self._all_done.wait(), until - time.perf_counter())

    def _begin(self, request: int) -> None:
        self._samples.begun[request] = self._now()
        self._queue.put_nowait(request)

    async def _connection(self, session: Any, clicker: Clicker) -> None:
        """One connection: takes the request that has waited longest, again and again."""
        while True:
            request = await self._queue.get()
            content = await self._send(session, request)
            if content is not None:
                self._read(request, content, clicker)
            self._failed += self._samples.status[request] != 200
            self._done += 1
            if self._done == len(self._samples.due):
                self._all_done.set()

    async def _send(self, session: Any, request: int) -> bytes | None:
        """The last step's answer; None as soon as a step has none."""
        import aiohttp

        samples, content = self._samples, b""
        samples.sent[request] = self._now()
        try:
            for method, url, body in self._asks.steps(request):
                sent = None if body is None else _sendable(body)
                async with session.request(method, url, data=sent, allow_redirects=False) as response:
                    content = await response.read()
                    samples.status[request] = response.status
                if response.status != 200:
                    break
        except TimeoutError:
            samples.status[request] = TIMEOUT
        except aiohttp.ClientConnectorError:
            samples.status[request] = UNREACHABLE
        except (aiohttp.ClientError, OSError):
            samples.status[request] = BROKEN
        samples.done[request] = self._now()
        return content if samples.status[request] == 200 else None

    def _read(self, request: int, content: bytes, clicker: Clicker) -> None:
        try:
            pages = self._asks.read(request, content)
        except ValueError:
            self._samples.status[request] = UNREADABLE
            return
        self._samples.slots[request] = sum(len(page.slots) for page in pages)
        clicker.see(pages)

    async def _report(self) -> None:
        while True:
            self._tell(self._done, len(self._samples.due), self._note())
            await asyncio.sleep(0.25)

    def _note(self) -> str:
        return f"{self._failed} failed" if self._failed else ""


class Pacer(threading.Thread):
    """Begins every request at its due time, from a thread that sleeps: an event loop's timers are a millisecond coarse.

    ``due`` are seconds after ``start`` (of ``time.perf_counter``); ``begin(request)`` is called in the loop.
    """

    def __init__(
        self, due: list[float], start: float, loop: asyncio.AbstractEventLoop, begin: Callable[[int], None]
    ) -> None:
        super().__init__(daemon=True)
        self._due, self._start_s, self._loop, self._begin_request = due, start, loop, begin
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sleep, begin, and so on until the last or until stopped."""
        for request, due in enumerate(self._due):
            wait = self._start_s + due - time.perf_counter()
            if (wait > 0 and self._stopped.wait(wait)) or self._stopped.is_set():
                return
            self._loop.call_soon_threadsafe(self._begin_request, request)

    def stop(self) -> None:
        """Begin no more; returns when the thread has ended."""
        self._stopped.set()
        self.join()


async def _ended(tasks: list["asyncio.Task[None]"]) -> None:
    """Cancel the tasks; what one of them failed with, which is no answer of a server, is raised."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


def _sendable(body: bytes) -> Any:
    """A body as the client wants it: large ones as a stream."""
    if len(body) < _LARGE:
        return body
    import io

    return io.BytesIO(body)
