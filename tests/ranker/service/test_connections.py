"""Raw sockets against a real server in a thread: what slow, silent and rude clients get, and that others notice nothing."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

BODY = b'{"request": 1, "user": 3}'
HEAD = b"POST /v1/rank HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
SIZED = HEAD + b"content-length: %d\r\n\r\n"
PATIENCE_S = 60.0


Connect = Callable[..., socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(running)``: a socket to a server, closed when the test ends."""
    opened: list[socket.socket] = []

    def made(running: Any, **options: int) -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.append(found)
        for name, value in options.items():
            found.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        found.settimeout(PATIENCE_S)
        found.connect(("127.0.0.1", running.port))
        return found

    yield made
    for one in opened:
        one.close()


def all_of(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def rank(running: Any, number: int) -> httpx.Response:
    return httpx.post(f"{running.address}/v1/rank", json={"request": number, "user": 3}, timeout=PATIENCE_S)


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_headers_that_drip_are_answered_408_and_body_that_drips_too_while_others_are_served(
    server: Any, connect: Connect
) -> None:
    with server(header_timeout_s=1.0, body_timeout_s=1.0) as running:
        slow_head = [connect(running) for _ in range(20)]
        slow_body = [connect(running) for _ in range(20)]
        for one in slow_head:
            one.sendall(b"POST /v1/rank HTTP/1.1\r\nx-a:")
        for one in slow_body:
            one.sendall(SIZED % len(BODY) + BODY[:3])
        for number in range(10):
            assert rank(running, number).status_code == 200
        for one in (*slow_head[:10], *slow_body[:10]):
            one.sendall(b"1")
        for one in (*slow_head, *slow_body):
            answer = all_of(one)
            assert status_of(answer) == 408
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"].endswith(
                "did not come within 1 seconds"
            )
            one.close()
        assert rank(running, 99).status_code == 200


def test_connections_that_say_nothing_are_closed(server: Any, connect: Connect) -> None:
    with server(header_timeout_s=0.5) as running:
        silent = [connect(running) for _ in range(10)]
        assert [all_of(one) for one in silent] == [b""] * 10
        blank = connect(running)
        blank.sendall(b"\r\n")  # allowed before a request; it must not stop the clock
        assert status_of(all_of(blank)) == 408


def test_a_connection_that_is_kept_alive_has_its_own_patience(server: Any) -> None:
    with server(header_timeout_s=0.5, keep_alive_s=3.0) as running, httpx.Client(timeout=PATIENCE_S) as client:
        for number in (1, 2):
            answer = client.post(f"{running.address}/v1/rank", json={"request": number, "user": 3})
            assert answer.status_code == 200
            time.sleep(0.8)  # longer than headers may take, shorter than a connection may rest
        assert len(running.server.server_state.connections) == 1
        assert until(lambda: not running.server.server_state.connections)


def test_a_half_open_connection_gets_its_answer_and_leaves_nothing_behind(server: Any, connect: Connect) -> None:
    with server() as running:
        half = connect(running)
        half.sendall(SIZED % len(BODY) + BODY)
        half.shutdown(socket.SHUT_WR)
        assert status_of(all_of(half)) == 200
        gone = connect(running)
        gone.sendall(SIZED % 1_000 + BODY)  # never the rest
        gone.shutdown(socket.SHUT_WR)
        gone.close()
        assert until(lambda: not running.server.server_state.connections and not running.server.server_state.tasks)
        assert rank(running, 2).status_code == 200


def test_headers_beyond_their_limit_are_431(server: Any, connect: Connect) -> None:
    with server(max_header_bytes=4_096) as running:
        for content in (HEAD + b"x-a: " + b"a" * 10_000, HEAD + b"x-a: b\r\n" * 2_000, b"GET /" + b"a" * 10_000):
            greedy = connect(running)
            greedy.sendall(content)
            assert status_of(all_of(greedy)) == 431
        assert rank(running, 1).status_code == 200


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_an_endless_body_is_413_and_closed(server: Any, connect: Connect, framing: str) -> None:
    with server(max_body_bytes=10_000, body_timeout_s=5.0) as running:
        endless = connect(running)
        if framing == "sized":
            endless.sendall(SIZED % 10**12)
        else:
            endless.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        part = b" " * 4_000
        sent = 0
        try:
            while sent < 10**7:
                endless.sendall(part if framing == "sized" else b"%x\r\n%s\r\n" % (len(part), part))
                sent += len(part)
        except OSError:
            pass  # closed while we were still sending
        answer = all_of(endless)
        assert sent < 10**7 or answer
        assert not answer or status_of(answer) == 413
        assert 'status="413"' in httpx.get(f"{running.address}/metrics").text


GET = b" HTTP/1.1\r\nhost: 127.0.0.1\r\n"
ENDLESS = {
    "a GET with a body of a gigabyte": (b"GET /v1/policies" + GET + b"content-length: 1000000000\r\n\r\n", 200),
    "a probe with a body in chunks": (b"GET /healthz" + GET + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 200),
    "an address that nobody knows": (b"GET /nowhere" + GET + b"content-length: 5\r\n\r\n", 404),
    "another method": (b"PUT /v1/rank" + GET + b"content-length: 5\r\n\r\nhell", 405),
    "another kind of content": (b"POST /v1/rank" + GET + b"content-type: text/plain\r\ncontent-length: 9\r\n\r\n", 415),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_before_the_body_has_come_is_the_connections_last(server: Any, connect: Connect, kind: str) -> None:
    content, status = ENDLESS[kind]
    with server(header_timeout_s=30.0, keep_alive_s=30.0) as running:
        asker = connect(running)
        asker.sendall(content)
        began = time.monotonic()
        answer = all_of(asker)
        assert status_of(answer) == status and answer.count(b"connection: close\r\n") == 1
        assert answer.partition(b"\r\n\r\n")[2].startswith((b"{", b"<"))
        assert until(lambda: not running.server.server_state.connections)
        assert time.monotonic() - began < PATIENCE_S / 2  # it was closed, not timed out


def test_one_client_of_too_many_requests_cannot_keep_its_connection_open_by_a_body(
    server: Any, connect: Connect
) -> None:
    with server(rate_per_s=0.001, burst=1) as running:
        assert rank(running, 1).status_code == 200
        again = connect(running)
        again.sendall(SIZED % 10**6)
        answer = all_of(again)
        assert status_of(answer) == 429 and b"connection: close\r\n" in answer


def test_an_answer_to_all_of_a_request_leaves_the_connection_open(server: Any, connect: Connect) -> None:
    with server() as running:
        asker = connect(running)
        for _ in range(2):
            asker.sendall(b"PUT /v1/rank" + GET + b"content-length: 5\r\n\r\nhello")
            answer = asker.recv(10_000)
            assert status_of(answer) == 405 and b"connection: close" not in answer


def test_who_asks_before_sending_is_told_at_once_that_it_is_too_much(server: Any, connect: Connect) -> None:
    with server(max_body_bytes=10_000) as running:
        polite = connect(running)
        polite.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: 20000\r\n\r\n")
        assert status_of(all_of(polite)) == 413
        welcome = connect(running)
        welcome.sendall(HEAD + b"expect: 100-continue\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert welcome.recv(100).startswith(b"HTTP/1.1 100")
        welcome.sendall(BODY)
        assert status_of(all_of(welcome)) == 200


def test_a_body_in_chunks_is_read_and_its_trailers_are_not_kept(server: Any, connect: Connect) -> None:
    with server() as running:
        chunks = connect(running)
        chunks.sendall(HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        for place in range(0, len(BODY), 5):
            chunks.sendall(b"%x\r\n%s\r\n" % (len(BODY[place : place + 5]), BODY[place : place + 5]))
        chunks.sendall(b"0\r\nauthorization: Bearer x\r\n\r\n")
        assert status_of(all_of(chunks)) == 200


def test_what_is_no_http_is_400_in_our_own_shape(server: Any, connect: Connect) -> None:
    with server() as running:
        for content in (b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            rude = connect(running)
            rude.sendall(content)
            answer = all_of(rude)
            assert status_of(answer) == 400 and b'{"error":' in answer
        both = connect(running)
        both.sendall(HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")  # smuggling
        assert status_of(all_of(both)) == 400


def test_a_websocket_is_not_opened(server: Any, connect: Connect) -> None:
    with server() as running:
        upgrade = connect(running)
        upgrade.sendall(
            b"GET /v1/policies HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert status_of(upgrade.recv(1_000)) == 200
        upgrade.close()


def test_pipelined_requests_are_answered_in_order(server: Any, connect: Connect) -> None:
    with server() as running:
        eager = connect(running)
        bodies = [b'{"request": %d, "user": 3}' % number for number in range(10)]
        eager.sendall(b"".join(SIZED % len(body) + body for body in bodies[:-1]))
        eager.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(bodies[-1]) + bodies[-1])
        answers = all_of(eager).split(b"HTTP/1.1 ")[1:]
        assert [json.loads(answer.partition(b"\r\n\r\n")[2])["request"] for answer in answers] == list(range(10))


def test_beyond_the_limit_of_connections_the_newest_is_turned_away(server: Any, connect: Connect) -> None:
    with server(max_connections=5, header_timeout_s=30.0) as running:
        kept = [connect(running) for _ in range(5)]
        assert until(lambda: len(running.server.server_state.connections) == 5)
        late = connect(running)
        assert status_of(all_of(late)) == 503
        kept.pop().close()
        assert until(lambda: len(running.server.server_state.connections) == 4)
        assert rank(running, 1).status_code == 200
        for one in kept:
            one.close()


def test_a_client_that_does_not_read_its_answers_is_cut_off_and_holds_nobody_up(server: Any, connect: Connect) -> None:
    with server(write_timeout_s=1.0) as running:
        deaf = connect(running, SO_RCVBUF=4_096)
        ask = b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        deaf.setblocking(False)
        try:
            for _ in range(3_000):
                deaf.send(ask)
        except BlockingIOError:
            pass
        for number in range(5):
            assert rank(running, number).status_code == 200
        assert until(lambda: not running.server.server_state.connections)
        deaf.close()


def test_shutting_down_finishes_what_is_in_flight_and_closes_the_ledger(server: Any, connect: Connect) -> None:
    with server(shutdown_s=20.0) as running:
        live = running.app.serving.live
        half = connect(running)
        half.sendall(SIZED % len(BODY) + BODY[:10])
        idle = connect(running)
        assert until(lambda: len(running.server.server_state.tasks) == 1)
        running.server.should_exit = True
        assert all_of(idle) == b""
        half.sendall(BODY[10:])
        answer = all_of(half)
        assert status_of(answer) == 200 and b"connection: close" in answer
        running.stop()
        with pytest.raises(OSError):
            connect(running)
        with pytest.raises(RuntimeError, match="closed"):
            live._check_open()


def test_while_it_drains_the_service_is_not_ready_and_still_answers(server: Any) -> None:
    with server(drain_s=1.5) as running:
        running.server.should_exit = True
        assert until(lambda: httpx.get(f"{running.address}/readyz").status_code == 503)
        assert rank(running, 1).status_code == 200
