"""The load generator tells the truth: due times, waits that a stalled server causes, errors, and its own lateness.

The servers here are a few lines of aiohttp on a port of their own, in another thread.
"""

import asyncio
import json
import threading
import time
from collections import Counter

import msgspec
import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

aiohttp = pytest.importorskip("aiohttp")
from aiohttp import web  # noqa: E402

from tribid.benchmark.loadtest.arrivals import constant, poisson  # noqa: E402
from tribid.benchmark.loadtest.asks import AskPages  # noqa: E402
from tribid.benchmark.loadtest.generator import run_load  # noqa: E402
from tribid.benchmark.loadtest.load import Load  # noqa: E402
from tribid.benchmark.loadtest.pages import pages_of  # noqa: E402
from tribid.benchmark.loadtest.report import Spread, as_json, report_of, summary  # noqa: E402
from tribid.cli.loadtest import loadtest  # noqa: E402
from tribid.envs.scenario import load_scenario  # noqa: E402
from tribid.ranker.messages import Event, Request  # noqa: E402

TINY = load_scenario("tiny")


class FakeServer:
    """Answers as a ranker would; ``hang`` seconds once, when request number ``hang_at`` comes: nobody is served then."""

    def __init__(self, *, hang_at=None, hang=0.0, status=200, body=None, sleep=0.0):
        self.hang_at, self.hang, self.status, self.body, self.sleep = hang_at, hang, status, body, sleep
        self.seen, self.events, self.headers, self.open, self.most_open = [], [], [], 0, 0

    async def rank(self, request):
        self.headers.append(request.headers)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        content = await request.read()
        self.seen.append(content)
        if len(self.seen) == self.hang_at:
            time.sleep(self.hang)  # the whole server stands still, as in a garbage collection
        if self.sleep:
            await asyncio.sleep(self.sleep)
        self.open -= 1
        if self.body is not None:
            return web.Response(body=self.body, status=self.status)
        given = json.loads(content)
        pages = [self.page(one) for one in given.get("requests", [given])]
        answer = {"decisions": pages} if "requests" in given else pages[0]
        return web.json_response(answer, status=self.status)

    @staticmethod
    def page(given):
        slots = [{"slot": 0, "price_micros": 5}] if given["request"] % 2 else []
        return {"id": f"0.{given['request']}", "request": given["request"], "slots": slots}

    async def post_events(self, request):
        events = msgspec.json.decode(await request.read(), type=dict[str, list[Event]])["events"]
        self.events += events
        paid = {"impression": 0, "click": 5}
        return web.json_response(
            {"receipts": [{"id": e.id, "status": "accepted", "charged_micros": paid[e.kind]} for e in events]}
        )

    def __enter__(self):
        ready = threading.Event()
        self.loop = asyncio.new_event_loop()

        async def serve():
            app = web.Application()
            app.router.add_post("/v1/rank", self.rank)
            app.router.add_post("/v1/events", self.post_events)
            self.runner = web.AppRunner(app, shutdown_timeout=0.1)
            await self.runner.setup()
            site = web.TCPSite(self.runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
            ready.set()

        def work():
            asyncio.set_event_loop(self.loop)
            self.loop.create_task(serve())
            self.loop.run_forever()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


def loaded(server, *, candidates=3, tell=None, **given):
    load = Load(**({"url": server.url, "rate": 200.0, "seconds": 1.0, "warmup": 0.0} | given))
    return run_load(load, AskPages(load, pages_of(TINY, load, candidates=candidates, first=100)), tell)


def test_poisson_arrivals_are_independent_and_constant_ones_evenly_spaced():
    times = poisson(1000.0, 50.0, np.random.default_rng(0))
    gaps = np.diff(times)
    assert np.all(gaps >= 0) and times[-1] < 50 and abs(len(times) - 50_000) < 5 * 50_000**0.5
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # an exponential's
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.02
    even = constant(100.0, 2.0, np.random.default_rng(0))
    assert len(even) == 200 and np.allclose(np.diff(even), 0.01)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"url": "localhost:8000"}, "URL is 'localhost:8000'"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"clicks": 1.5}, "clicks is 1.5; allowed is 0 to 1"),
        ({"arrivals": "uniform"}, "choose poisson or constant"),
        ({"connections": 0}, "connections is 0"),
    ],
)
def test_a_wrong_load_is_refused_by_name(bad, said):
    with pytest.raises(ValueError, match=said):
        Load(**({"url": "http://127.0.0.1:1"} | bad))


def test_every_body_is_a_request_that_the_ranker_takes():
    load = Load(url="http://127.0.0.1:1")
    names = {f"{one.name}" for one in TINY.advertisers}
    pages = pages_of(TINY, load, candidates=5, events=4, first=2**32 - 2, day=3, tick=2)
    found = [msgspec.json.decode(pages.body(i), type=Request) for i in range(4)]
    assert [one.request for one in found] == [2**32 - 2, 2**32 - 1, 0, 1]
    for one in found:
        assert (one.day, one.tick) == (3, 2) and 0 <= one.user < 50 and len(one.events) == 4
        brought = [offer.advertiser for offer in one.candidates]
        assert len(set(brought)) == 5 and (not names or set(brought) <= names)
        assert all(offer.pctr > 0 and offer.pcvr > 0 for offer in one.candidates)
    batch = msgspec.json.decode(pages.body(2, batch=3), type=dict[str, list[Request]])["requests"]
    assert [one.request for one in batch] == [4, 5, 6]
    bare = msgspec.json.decode(pages_of(TINY, load, candidates=0).body(0), type=Request)
    assert bare.candidates is None and bare.tick is None and bare.day is None and bare.user is not None


def test_pages_differ_between_runs_unless_the_first_is_given():
    load = Load(url="http://127.0.0.1:1")
    assert pages_of(TINY, load, candidates=0).first != pages_of(TINY, load, candidates=0).first


def test_more_candidates_than_advertisers_are_refused():
    with pytest.raises(ValueError, match="candidates is 64; allowed is 0 to the 5"):
        pages_of(TINY, Load(url="http://127.0.0.1:1"), candidates=64)
    with pytest.raises(ValueError, match="of kind auctionnet"):
        pages_of(load_scenario("auctionnet"), Load(url="http://127.0.0.1:1"))


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("TRIBID_TOKEN", raising=False)


def test_everything_that_is_due_is_sent_and_counted_and_the_warmup_is_not():
    told = []
    with FakeServer() as server:
        found = loaded(server, rate=100.0, seconds=1.0, warmup=0.5, arrivals="constant", tell=lambda *a: told.append(a))
    report = report_of(found)
    assert len(server.seen) == 150 and report.requests == 100 == report.answered
    assert {json.loads(one)["request"] for one in server.seen} == set(range(100, 250))
    assert report.errors == {} and not report.failed and report.sent_rate == 100
    assert told[-1] == (150, 150, "") and report.slots_per_page == 0.5 and report.empty_share == 0.5
    assert [(one.second, one.due) for one in report.windows] == [(0, 100)]


def test_latency_counts_from_the_due_time_and_service_from_the_sending():
    with FakeServer() as server:
        samples = loaded(server).samples
    assert np.all(samples.begun >= samples.due) and np.all(samples.sent >= samples.begun)
    assert np.all(samples.done > samples.sent)
    assert np.allclose(samples.latency - samples.service, samples.sent - samples.due)


def test_a_server_that_hangs_once_is_charged_for_everybody_who_came_meanwhile():
    """200 ms of standstill at 200/s: about 40 requests wait 100 ms on average; a closed loop would report just one."""
    with FakeServer(hang_at=60, hang=0.2) as server:
        found = loaded(server, connections=4, arrivals="constant")
    late = found.samples.latency
    assert report_of(found).errors == {}
    assert late.max() >= 0.2
    assert (late >= 0.1).sum() >= 18  # those due in the first half of the standstill; 20 by arithmetic
    assert report_of(found).latency_ms.p99 >= 180  # 1 in 100 is the second slowest of 200
    # Only the four that were on a connection know of it by service time: what the wait for one hides.
    assert (found.samples.service >= 0.1).sum() <= 4


def test_connections_are_bounded_and_the_wait_for_one_is_counted():
    with FakeServer(sleep=0.05) as server:
        found = loaded(server, rate=400.0, seconds=0.5, connections=5, arrivals="constant")
    assert server.most_open == 5
    # 5 connections serve 100 a second at most; 200 were due in half a second.
    assert found.samples.latency.max() >= 1.2
    assert report_of(found).answered_rate <= 110


def test_what_never_answers_is_a_timeout_or_unsent_and_counts_with_its_wait():
    with FakeServer(sleep=60.0) as server:
        found = loaded(server, rate=50.0, seconds=0.4, connections=2, timeout_s=0.3, arrivals="constant")
        report = report_of(found)
    assert report.answered == 0 and set(report.errors) == {"timed out", "never sent"}
    assert sum(report.errors.values()) == 20 and report.failed
    assert report.latency_ms.p50 >= 280 and report.requests == 20


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"status": 503, "body": b"{}"}, "HTTP 503"), ({"body": b"<html>"}, "unreadable answer")],
)
def test_errors_are_told_by_kind_and_are_no_fast_answers(given, kind):
    with FakeServer(**given) as server:
        report = report_of(loaded(server, rate=50.0, seconds=0.2, arrivals="constant"))
    assert report.errors == {kind: 10} and report.latency_ms is None and report.failed


def test_nobody_there_is_an_error_too():
    load = Load(url="http://127.0.0.1:9", rate=50.0, seconds=0.2, warmup=0.0, arrivals="constant")
    report = report_of(run_load(load, AskPages(load, pages_of(TINY, load, candidates=0))))
    assert report.errors == {"no connection": 10} and report.failed


def test_a_share_of_the_pages_is_seen_and_clicked_once_each():
    with FakeServer() as server:
        report = report_of(loaded(server, clicks=0.5, arrivals="constant", batch=4, token="secret"))
    kinds = Counter(event.kind for event in server.events)
    sold = sum(one["request"] % 2 for body in server.seen for one in json.loads(body)["requests"])
    assert sold == 400 and kinds["click"] == kinds["impression"] and abs(kinds["click"] - 200) < 50
    assert len({event.id for event in server.events}) == len(server.events)
    assert report.events.receipts == {"accepted": len(server.events)} and not report.failed
    assert report.events.charged_micros == 5 * kinds["click"]
    assert all(int(event.decision.partition(".")[2]) % 2 for event in server.events)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}


def test_an_overloaded_generator_says_so(monkeypatch):
    from tribid.benchmark.loadtest.pages import Pages

    one = Pages.one

    def slow(self, page):
        time.sleep(0.02)  # 50 a second at most
        return one(self, page)

    monkeypatch.setattr(Pages, "one", slow)
    with FakeServer() as server:
        report = report_of(loaded(server, rate=200.0, seconds=0.5, arrivals="constant"))
    assert report.late_ms.p99 > 100 and report.latency_ms.p99 >= report.late_ms.p99
    assert any("generator itself was late" in line for line in summary(report))


def test_percentiles_are_measured_values():
    assert Spread.of(np.arange(1, 1001) / 1e3) == Spread(500.0, 900.0, 990.0, 999.0, 1000.0, 500.5)
    assert Spread.of(np.array([])) is None


def test_the_command_writes_json_and_a_picture_and_ends_with_1_where_anything_failed(tmp_path):
    app = Typer()
    app.command()(loadtest)
    run = CliRunner()
    with FakeServer() as server:
        given = ["-s", "tiny", "--candidates", "5", "--rate", "60", "--seconds", "0.5", "--warmup", "0.1"]
        files = ["--json", str(tmp_path / "load.json"), "--plot", str(tmp_path / "load.svg")]
        well = run.invoke(app, [server.url, *given, *files])
        server.status = 500
        bad = run.invoke(app, [server.url, *given])
    assert well.exit_code == 0, well.output
    assert "p99.9" in well.output and "errors: none" in well.output
    stored = json.loads((tmp_path / "load.json").read_text())
    assert stored["answered"] == stored["requests"] > 0 and stored["latency_ms"]["p99"] > 0
    assert "<svg" in (tmp_path / "load.svg").read_text() and "90%" in (tmp_path / "load.svg").read_text()
    assert bad.exit_code == 1 and "HTTP 500" in bad.output
    refused = run.invoke(app, ["http://127.0.0.1:9", "-s", "tiny", "--candidates", "5", "--plot", "load.pdf"])
    assert refused.exit_code == 2 and "load.pdf" in refused.output


def test_the_command_needs_no_number_of_candidates_in_a_small_scenario_and_names_the_servers_own_port():
    app = Typer()
    app.command()(loadtest)
    run = CliRunner()
    with FakeServer() as server:
        well = run.invoke(app, [server.url, "-s", "tiny", "--rate", "40", "--seconds", "0.3", "--warmup", "0.1"])
    assert well.exit_code == 0, well.output
    assert {len(json.loads(content)["candidates"]) for content in server.seen} == {5}
    told = run.invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "127.0.0.1:8080" in told and "8000" not in told


def test_the_picture_shows_failures_too(tmp_path):
    from tribid.benchmark.loadtest.plot import load_plot

    with FakeServer(status=500, body=b"{}") as server:
        found = loaded(server, rate=50.0, seconds=0.2)
    load_plot(found, tmp_path / "failed.png")
    assert (tmp_path / "failed.png").stat().st_size > 1000
    assert as_json(report_of(found))["answered"] == 0
