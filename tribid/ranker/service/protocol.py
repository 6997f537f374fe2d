"""``PatientProtocol``: uvicorn's HTTP protocol with an end to its patience."""

import asyncio
from time import perf_counter
from typing import Any, ClassVar, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tribid.ranker.service.gate import ARRIVED
from tribid.ranker.service.settings import Settings
from tribid.ranker.service.wire import Failure, Problem


def protocol_of(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol's class for a server with these settings."""
    return type("PatientProtocol", (PatientProtocol,), {"settings": settings})


class PatientProtocol(HttpToolsProtocol):
    """What uvicorn waits for without end, this one waits for as long as ``settings`` say.

    A connection has ``header_timeout_s`` to send its first request's headers, and each later request's from its first
    byte (between requests uvicorn's keep-alive timer runs), or is answered 408. More than ``max_header_bytes`` of headers
    are answered 431. A request that is answered before all of it came is its connection's last. A client that does not
    read its answer is cut off after ``write_timeout_s``. Of more than ``max_connections`` at once the newest is answered
    503. The times of bodies are the ``Gate``'s.
    """

    settings: ClassVar[Settings] = Settings()

    def connection_made(self, transport: Any) -> None:
        """Greet a connection, or turn it away where there are too many."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.settings.max_connections:
            self._turn_away(503, "too many connections; come again later")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._head_done()
        self._cancel_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; whatever comes outside a request's body counts as headers."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._head_bytes > self.settings.max_header_bytes:
            self._turn_away(431, f"headers are larger than the {self.settings.max_header_bytes} bytes that are allowed")
        elif self._head_bytes > 0 and self._head_timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """A request's first byte: its time runs from here."""
        super().on_message_begin()
        self._head_bytes = max(self._head_bytes, 1)
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[ARRIVED] = perf_counter()

    def on_headers_complete(self) -> None:
        """The headers are there: from here on the ``Gate`` watches the time."""
        self._in_head = False
        self._head_done()
        super().on_headers_complete()
        assert self.cycle is not None
        whole = _InOnePiece(self.cycle)
        self.cycle.transport, self.cycle.on_response = cast(asyncio.Transport, whole), whole.complete

    def on_message_complete(self) -> None:
        """The request is there; what comes next are another one's headers."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; not a trailer, of which a body in chunks could bring any number after its headers were read."""
        if self._in_head:
            super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._turn_away(400, "no valid HTTP request")

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: it has ``write_timeout_s`` to catch up."""
        super().pause_writing()
        self._cancel_write_timer()
        self._write_timer = self.loop.call_later(self.settings.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It caught up."""
        super().resume_writing()
        self._cancel_write_timer()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_timer = None  # an answer is still being made; its end starts the keep-alive timer
            return
        if self._head_bytes == 0:
            self.transport.close()  # it never said anything
        else:
            self._turn_away(408, f"the headers did not come within {self.settings.header_timeout_s:g} seconds")

    def _turn_away(self, status: int, message: str) -> None:
        """Answer and close; where an answer is being made already, close alone, for its bytes would mix with these."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        body = msgspec.json.encode(Failure(Problem("", message)))
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class _InOnePiece:
    """A connection's transport as one answer sees it: the head waits for what comes next, to be sent with it.

    uvicorn writes head and body one after the other; each would be a system call here, and wake the client, who can do
    nothing with a head.
    """

    __slots__ = ("_cycle", "_done", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._transport, self._done = cycle, cycle.transport, cycle.on_response
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send, unless this is the answer's head."""
        if self._head is not None:
            self._transport.write(self._head + data)
            self._head = b""
        elif self._cycle.response_started:
            self._head = self._last_words(data)
        else:
            self._transport.write(data)  # 100 Continue

    def close(self) -> None:
        """Send what waits and close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the transport is."""
        return self._transport.is_closing()

    def complete(self) -> None:
        """The answer is complete."""
        self._flush()
        self._done()

    def _last_words(self, head: bytes) -> bytes:
        """The head; where the request is not all there, one that says that the connection ends with this answer.

        Nobody reads what is still to come, and it may never end.
        """
        if not (self._cycle.more_body and self._cycle.keep_alive):
            return head
        self._cycle.keep_alive = False
        return head.removesuffix(b"\r\n") + b"connection: close\r\n\r\n"

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""
