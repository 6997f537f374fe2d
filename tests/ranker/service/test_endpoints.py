import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest

from tribid.ranker.ledger.interface import Hold
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import Decision, Event, Request
from tribid.ranker.releases import Policies
from tribid.ranker.service.app import make_app
from tribid.ranker.service.settings import Settings
from tribid.ranker.service.wire import Decisions, Receipts

PAGE = {"request": 1, "user": 3}
Asked = Callable[[httpx.AsyncClient], Awaitable[Any]]


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    told = answer.json()
    assert list(told) == ["error"] and list(told["error"]) == ["field", "message"]
    return answer.status_code, told["error"]["field"], told["error"]["message"]


def test_a_request_over_http_gets_the_decision_that_the_ranker_makes(ranker: Any) -> None:
    async def run() -> None:
        other = await LiveRanker.open("tiny", {"pid": "pid"})
        async with ranker() as http:
            answer = await http.post("/v1/rank", json=PAGE)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        assert msgspec.json.decode(answer.content, type=Decision) == await other.rank(Request(request=1, user=3))

    asyncio.run(run())


def test_a_batch_gets_its_decisions_in_order_and_stages_are_timed_where_that_is_asked_for(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            pages = [{"request": number, "user": number} for number in (4, 2, 9)]
            batch = await http.post("/v1/rank?explain=true", json={"requests": pages})
            decisions = msgspec.json.decode(batch.content, type=Decisions).decisions
            assert [decision.request for decision in decisions] == [4, 2, 9]
            assert all("auction" in decision.stage_ms for decision in decisions)
            alone = await http.post("/v1/rank?explain=false", json=PAGE)
            assert alone.json()["stage_ms"] == {}

    asyncio.run(run())


def test_a_batch_is_told_from_a_request_however_its_json_is_written(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            for body in (
                b'{"requests":[{"request":1,"user":3}]}',
                b' \n{ "requests" : [{"request":1,"user":3}]}',
                b'{"\\u0072equests": [{"request":1,"user":3}]}',
            ):
                answer = await http.post("/v1/rank", content=body, headers={"content-type": "application/json"})
                assert len(answer.json()["decisions"]) == 1

    asyncio.run(run())


def test_stages_are_sampled_for_the_metrics_without_changing_the_answer(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(stage_sample=1)) as http:
            answer = await http.post("/v1/rank", json=PAGE)
            assert answer.json()["stage_ms"] == {}
            assert 'tribid_stage_seconds_count{stage="auction"} 1.0' in (await http.get("/metrics")).text

    asyncio.run(run())


def test_a_sampled_page_is_answered_again_like_any_other(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(stage_sample=2)) as http:
            for number in (1, 2, 3, 4):  # every other one is sampled
                first = await http.post("/v1/rank", json={"request": number, "user": 3})
                again = await http.post("/v1/rank?explain=true", json={"request": number, "user": 3})
                assert first.content == again.content

    asyncio.run(run())


def test_events_are_counted_once_and_a_click_pays_the_price_of_its_slot(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            decision = msgspec.json.decode((await http.post("/v1/rank", json=PAGE)).content, type=Decision)
            click = {"id": "e1", "kind": "click", "decision": decision.id, "slot": 0}
            told = await http.post(
                "/v1/events", json={"events": [click, click, {**click, "id": "e2", "decision": "0.9"}]}
            )
            receipts = msgspec.json.decode(told.content, type=Receipts).receipts
            assert [receipt.status for receipt in receipts] == ["accepted", "duplicate", "unknown"]
            assert [receipt.charged_micros for receipt in receipts] == [decision.slots[0].price_micros, 0, 0]
            metrics = (await http.get("/metrics")).text
            assert 'tribid_events_total{status="duplicate"} 1.0' in metrics
            payer = decision.slots[0].advertiser
            spent = f'tribid_advertiser_micros{{account="spent",advertiser="{payer}"}} '
            assert float(metrics.partition(spent)[2].split()[0]) == decision.slots[0].price_micros

    asyncio.run(run())


def test_policies_are_activated_and_rolled_back(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            plan = msgspec.json.decode((await http.get("/v1/policies")).content, type=Policies)
            assert (plan.active, [release.name for release in plan.releases]) == ("pid", ["pid", "truthful"])
            shadow = await http.post("/v1/policies/truthful:activate", json={"mode": "shadow"})
            assert shadow.json()["shadow"] == ["truthful"]
            split = await http.post("/v1/policies/truthful:activate", json={"mode": "split", "percent": 25})
            assert (split.json()["shadow"], split.json()["split"]) == ([], {"truthful": 25.0})
            active = await http.post("/v1/policies/truthful:activate", json={})
            assert (active.json()["active"], active.json()["previous"]) == ("truthful", "pid")
            assert (await http.post("/v1/rank", json=PAGE)).json()["policy"].startswith("truthful@")
            assert (await http.post("/v1/policies:rollback")).json()["active"] == "pid"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/policies/nobody:activate", {}, (404, "name", "no policies named 'nobody'; choose pid, truthful")),
        (
            "/v1/policies/pid:activate",
            {"mode": "loud"},
            (422, "$.mode", "'loud'; allowed are active, off, shadow, split"),
        ),
        ("/v1/policies/pid:activate", {"percent": 101}, (422, "$.percent", "Expected `float` <= 100.0")),
        ("/v1/policies/truthful:activate", {"mode": "split"}, (422, "percent", "percent is None; allowed is a share")),
        ("/v1/policies:rollback", {"to": "pid"}, (422, "$", "allowed is an empty body or {}")),
        ("/v1/policies:rollback", {}, (422, "active", "active is 'pid', which replaced none")),
    ],
)
def test_an_activation_that_cannot_be_says_what_can(
    ranker: Any, path: str, body: Any, told: tuple[int, str, str]
) -> None:
    async def run() -> None:
        async with ranker() as http:
            status, field, message = error_of(await http.post(path, json=body))
            assert (status, field) == told[:2] and told[2] in message

    asyncio.run(run())


def test_the_same_request_again_is_answered_alike_and_reserves_nothing_more(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            first = await http.post("/v1/rank", json=PAGE)
            held = [line for line in (await http.get("/metrics")).text.splitlines() if "tribid_money_micros" in line]
            again = await http.post("/v1/rank", json=PAGE)
            assert again.content == first.content
            after = [line for line in (await http.get("/metrics")).text.splitlines() if "tribid_money_micros" in line]
            assert after == held
            other = await http.post("/v1/rank", json={**PAGE, "user": 4})
            assert error_of(other)[:2] == (409, "$.request")

    asyncio.run(run())


def test_a_repeated_request_with_a_deadline_is_the_same_request(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            asked = {**PAGE, "timeout_ms": 30_000}
            first = await http.post("/v1/rank", json=asked)
            assert first.status_code == 200
            assert (await http.post("/v1/rank", json=asked)).content == first.content

    asyncio.run(run())


class Slow:
    """A ranker that only notes the time budgets that it is given."""

    def __init__(self, live: LiveRanker) -> None:
        self._live = live
        self.given: list[float | None] = []

    async def rank(self, request: Request, *, explain: bool = False) -> Decision:
        self.given.append(request.timeout_ms)
        return await self._live.rank(msgspec.structs.replace(request, timeout_ms=None))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)


def test_the_time_that_a_request_waited_is_taken_off_its_deadline() -> None:
    async def run() -> None:
        live: Any = Slow(await LiveRanker.open("tiny", {"pid": "pid"}))
        app = make_app(live, settings=Settings(timeout_ms=5_000))

        async def slowly() -> Any:
            yield b'{"request": 1, "user": 3, "timeout_ms": 10000}'[:20]
            await asyncio.sleep(0.2)
            yield b'{"request": 1, "user": 3, "timeout_ms": 10000}'[20:]

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            json_type = {"content-type": "application/json"}
            assert (await http.post("/v1/rank", content=slowly(), headers=json_type)).status_code == 200
            await http.post("/v1/rank", json={"request": 2, "user": 3})
            await http.post("/v1/rank", json={"request": 3, "user": 3, "timeout_ms": 0.0001})
        assert live.given[0] <= 9_800
        assert 0 < live.given[1] <= 5_000
        assert live.given[2] == 0.001

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/metrics", "/healthz", "/readyz", "/v1/policies"])
def test_pages_answer_get_and_ask_nobody_else_for_anything(ranker: Any, path: str) -> None:
    async def run() -> None:
        async with ranker() as http:
            answer = await http.get(path)
            assert answer.status_code == 200 and answer.content
            if path == "/docs":
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                assert "src=" not in answer.text and "@import" not in answer.text and "<script" not in answer.text
                assert "/v1/policies/{name}:activate" in answer.text

    asyncio.run(run())


def test_an_exchange_is_answered_behind_the_same_gate(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(token="a-very-secret-token")) as http:
            asked = {"id": "r1", "imp": [{"id": "1", "banner": {}}], "user": {"id": "u"}, "cur": ["USD"]}
            assert (await http.post("/openrtb2/auction", json=asked)).status_code == 401
            http.headers["authorization"] = "Bearer a-very-secret-token"
            assert (await http.post("/openrtb2/auction", json=asked)).status_code in (200, 204)
            del http.headers["authorization"]
            assert (await http.get("/openrtb2/win?t=forged")).status_code == 403  # its own token, not the service's

    asyncio.run(run())


def test_before_it_is_open_the_service_lives_but_is_not_ready() -> None:
    async def run() -> None:
        may_open = asyncio.Event()

        async def opener() -> LiveRanker:
            await may_open.wait()
            return await LiveRanker.open("tiny", {"pid": "pid"})

        app: Any = make_app(opener, settings=Settings())
        await app.serving.start()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            assert (await http.get("/healthz")).status_code == 200
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "opening policies and ledger"})
            early = await http.post("/v1/rank", json=PAGE)
            assert error_of(early)[0] == 503 and early.headers["retry-after"] == "1"
            assert error_of(await http.get("/v1/policies"))[0] == 503
            assert (await http.get("/openapi.json")).status_code == 200
            may_open.set()
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.01)
            assert (await http.post("/v1/rank", json=PAGE)).status_code == 200
            exchange = {"id": "r1", "imp": [{"id": "1", "banner": {}}], "cur": ["USD"]}
            assert (await http.post("/openrtb2/auction", json=exchange)).status_code in (200, 204)
            app.serving.stopping = True
            assert (await http.get("/readyz")).json() == {"status": "shutting down"}
            assert (await http.post("/v1/rank", json=PAGE)).status_code == 200  # what is in flight is finished
            await app.serving.stop()
            assert error_of(await http.post("/v1/rank", json={"request": 2, "user": 1}))[0] == 503

    asyncio.run(run())


def test_an_opening_that_fails_is_told_by_readyz_and_kept_for_the_server() -> None:
    async def run() -> None:
        async def opener() -> LiveRanker:
            raise ValueError("the ledger is damaged")

        app: Any = make_app(opener, settings=Settings())
        await app.serving.start()
        while app.serving.failure is None:
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            ready = await http.get("/readyz")
            assert ready.status_code == 503 and "log" in ready.json()["status"] and "damaged" not in ready.text
        assert str(app.serving.failure) == "the ledger is damaged"
        await app.serving.stop()

    asyncio.run(run())


def test_a_ledger_that_fails_makes_the_service_unready_until_it_works_again() -> None:
    class Failing(MemoryLedger):
        is_failing = True

        async def expire(self, now_ms: int) -> int:
            if self.is_failing:
                raise OSError("the disk /secret is gone")
            return await super().expire(now_ms)

    async def run() -> None:
        ledger = Failing([f"adv_0{ad}" for ad in range(5)])

        async def opener() -> LiveRanker:
            return await LiveRanker.open("tiny", {"pid": "pid"}, ledger=ledger)

        app: Any = make_app(opener, settings=Settings())
        await app.serving.start()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            while "fails" not in (ready := await http.get("/readyz")).text:
                await asyncio.sleep(0.01)
            assert ready.status_code == 503 and "secret" not in ready.text
            assert (await http.get("/healthz")).status_code == 200
            ledger.is_failing = False
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.01)
        await app.serving.stop()

    asyncio.run(run())


def test_decisions_that_the_log_failed_to_take_are_in_the_metrics(ranker: Any) -> None:
    def full(decided: Any) -> None:
        raise OSError("no space left")

    async def run() -> None:
        async with ranker(log=full) as http:
            assert "tribid_unlogged_decisions_total 0.0" in (await http.get("/metrics")).text
            assert (await http.post("/v1/rank", json=PAGE)).status_code == 200
            assert "tribid_unlogged_decisions_total 1.0" in (await http.get("/metrics")).text

    asyncio.run(run())


def test_a_page_that_was_answered_before_a_restart_and_would_be_empty_now_is_409() -> None:
    async def run() -> None:
        names = [f"adv_0{ad}" for ad in range(5)]
        ledger = MemoryLedger(names)
        first = await LiveRanker.open("tiny", {"pid": "pid"}, ledger=ledger)
        assert (await first.rank(Request(request=1, user=3))).slots
        left = ledger.free_micros().tolist()
        await ledger.reserve([Hold(f"0.9.{ad}", ad, micros, 10**15) for ad, micros in enumerate(left)])
        again = await LiveRanker.open("tiny", {"pid": "pid"}, ledger=ledger)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(again)), base_url="http://test") as http:
            status, _, message = error_of(await http.post("/v1/rank", json=PAGE))
            assert status == 409 and "page 0.1 was answered before, and otherwise" in message
            anew = await http.post("/v1/rank", json=PAGE | {"request": 2})
            assert (anew.status_code, anew.json()["slots"]) == (200, [])

    asyncio.run(run())


def test_requests_while_policies_are_swapped_are_all_answered_by_one_or_the_other(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            answers = []

            async def ask(first: int) -> None:
                for number in range(first, first + 25):
                    answers.append(await http.post("/v1/rank", json={"request": number, "user": number % 50}))
                    await asyncio.sleep(0)

            async def swap() -> None:
                for name in ("truthful", "pid") * 5:
                    assert (await http.post(f"/v1/policies/{name}:activate", json={})).status_code == 200
                    await asyncio.sleep(0)

            await asyncio.gather(*(ask(100 * client) for client in range(8)), swap())
            assert [answer.status_code for answer in answers] == [200] * 200
            assert {answer.json()["policy"].partition("@")[0] for answer in answers} == {"pid", "truthful"}

    asyncio.run(run())


def test_an_event_is_encoded_as_the_service_reads_it(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            event = Event(id="e", kind="impression", decision="0.1", slot=0)
            body = json.dumps({"events": [msgspec.to_builtins(event)]})
            answer = await http.post(
                "/v1/events", content=body, headers={"content-type": "application/json; charset=utf-8"}
            )
            assert answer.json()["receipts"][0]["status"] == "unknown"

    asyncio.run(run())
