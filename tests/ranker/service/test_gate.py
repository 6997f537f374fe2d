import asyncio
import logging
from typing import Any

import pytest

from tribid.ranker.service.rate_limit import RateLimit
from tribid.ranker.service.settings import Settings, token_of

TOKEN = "correct-horse-battery"
PAGE = {"request": 1, "user": 3}


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", f"bearer {TOKEN}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer  {TOKEN}", "Bearer \xff"],
)
@pytest.mark.parametrize("path", ["/v1/rank", "/v1/policies", "/metrics", "/docs", "/nowhere", "/openrtb2/auction"])
def test_without_the_token_nothing_is_answered(ranker: Any, given: str | None, path: str) -> None:
    async def run() -> None:
        async with ranker(Settings(token=TOKEN)) as http:
            headers = [] if given is None else [(b"authorization", given.encode("latin-1"))]
            answer = await http.post(path, json=PAGE, headers=headers)
            assert (answer.status_code, answer.json()["error"]["field"]) == (401, "authorization")
            assert answer.headers["www-authenticate"] == "Bearer"

    asyncio.run(run())


def test_with_the_token_everything_is_answered_and_probes_need_none(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(token=TOKEN)) as http:
            assert (await http.get("/healthz")).status_code == (await http.get("/readyz")).status_code == 200
            http.headers["authorization"] = f"Bearer {TOKEN}"
            assert (await http.post("/v1/rank", json=PAGE)).status_code == 200
            assert (await http.get("/metrics")).status_code == 200

    asyncio.run(run())


def test_a_token_is_read_from_a_file_or_the_environment_and_never_shown(tmp_path: Any, monkeypatch: Any) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("TRIBID_TOKEN", "another-good-token")
    assert token_of(file) == TOKEN
    assert token_of(None) == "another-good-token"
    monkeypatch.delenv("TRIBID_TOKEN")
    assert token_of(None) is None
    assert TOKEN not in repr(Settings(token=TOKEN))
    file.write_text("short")
    with pytest.raises(ValueError, match="has 5 characters; allowed are 16 or more"):
        token_of(file)
    with pytest.raises(ValueError, match="visible ASCII") as refused:
        Settings(token="naïve-naïve-naïve-naïve")
    assert "naïve" not in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "tribid.example"])
def test_a_host_that_others_reach_is_refused_without_a_token(host: str) -> None:
    with pytest.raises(ValueError, match="there is no token; allowed without one are 127"):
        Settings(host=host).check_open_to()
    Settings(host=host, token=TOKEN).check_open_to()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    Settings(host=host).check_open_to()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"port": 70_000}, "port is 70000"), ({"port": -1}, "port is -1"), ({"rate_per_s": 0}, "rate_per_s is 0"),
        ({"timeout_ms": -5}, "timeout_ms is -5"), ({"body_timeout_s": float("nan")}, "body_timeout_s is nan"),
        ({"max_connections": True}, "max_connections is True"), ({"burst": 5}, "burst is 5 without rate_per_s"),
        ({"max_body_bytes": 10}, "max_body_bytes is 10; allowed is a number from 1024"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(**change)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:8080", 200), ("127.0.0.1:1", 200), ("[::1]:8080", 200), ("[::1]", 200),
        ("LOCALHOST", 200), ("evil.example", 400), ("evil.example:8080", 400), ("localhost.evil.example", 400), ("", 400),
        ("127.0.0.1:8080.evil.example", 400),
    ],
)  # fmt: skip
def test_a_web_page_that_rebinds_its_name_to_loopback_is_refused(ranker: Any, host: str, status: int) -> None:
    from tribid.ranker.service.settings import LOOPBACK_HOSTS

    async def run() -> None:
        async with ranker(Settings(hosts=LOOPBACK_HOSTS)) as http:
            answer = await http.get("/v1/policies", headers={"host": host})
            assert answer.status_code == status
            assert status == 200 or answer.json()["error"]["field"] == "host"

    asyncio.run(run())


def test_no_page_of_another_origin_is_told_that_it_may_read(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            origin = {"origin": "https://evil.example", "access-control-request-method": "POST"}
            for answer in (
                await http.options("/v1/rank", headers=origin),
                await http.post("/v1/rank", json=PAGE, headers=origin),
            ):
                assert not [name for name in answer.headers if name.startswith("access-control")]

    asyncio.run(run())


def test_a_client_beyond_its_rate_waits_and_others_do_not() -> None:
    now = [0.0]
    limit = RateLimit(10.0, burst=3, clients=100, clock=lambda: now[0])
    assert [limit.wait_s("192.0.2.1") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limit.wait_s("192.0.2.1") == pytest.approx(0.1)
    assert limit.wait_s("192.0.2.2") == 0.0
    now[0] = 0.1
    assert limit.wait_s("192.0.2.1") == 0.0
    assert limit.wait_s("192.0.2.1") > 0
    now[0] = 100.0
    assert [limit.wait_s("192.0.2.1") for _ in range(4)][:3] == [0.0, 0.0, 0.0]


def test_over_a_long_time_a_client_gets_its_rate_and_no_more() -> None:
    now = [0.0]
    limit = RateLimit(50.0, burst=5, clients=10, clock=lambda: now[0])
    passed = 0
    for step in range(100_000):
        now[0] = step / 1_000.0
        passed += limit.wait_s("a") == 0.0
    assert 5_000 <= passed <= 5_005


def test_the_clients_that_are_remembered_are_bounded_and_an_ipv6_user_is_one() -> None:
    limit = RateLimit(1.0, burst=1, clients=50, clock=lambda: 0.0)
    for number in range(10_000):
        limit.wait_s(f"192.0.{number // 256}.{number % 256}")
    assert len(limit) == 50
    assert limit.wait_s("2001:db8::1") == 0.0
    assert limit.wait_s("2001:db8::ffff:1") > 0.0
    assert limit.wait_s("2001:db8:0:1::1") == 0.0
    assert limit.wait_s("fe80::1%eth0") == 0.0


def test_too_many_requests_are_429_with_a_time_to_come_again_and_probes_pass(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(rate_per_s=0.01, burst=2)) as http:
            answers = [await http.get("/v1/policies") for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            assert 1 <= int(answers[2].headers["retry-after"]) <= 100
            assert (await http.get("/healthz")).status_code == 200

    asyncio.run(run())


def test_metrics_have_few_labels_whatever_is_asked_for(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(metrics_advertisers=3)) as http:
            for number in range(30):
                await http.get(f"/nowhere/{number}")
                await http.post(f"/v1/policies/{number}:activate", json={})
            await http.post("/v1/rank", json=PAGE)
            text = (await http.get("/metrics")).text
            assert 'tribid_http_requests_total{route="other",status="404"} 30.0' in text
            assert 'tribid_http_requests_total{route="/v1/policies/{name}:activate",status="404"} 30.0' in text
            assert 'tribid_http_request_seconds_bucket{le="0.0005",route="/v1/rank"}' in text
            assert "tribid_advertiser_micros{" not in text and 'tribid_money_micros{account="held"}' in text
            assert 'tribid_policy_info{release="pid@' in text

    asyncio.run(run())


def test_logs_hold_no_user_and_no_address(ranker: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with ranker(Settings(rate_per_s=1_000.0)) as http:
            await http.post("/v1/rank", json={"request": 12345, "user": 37})
            await http.post("/v1/rank", json={"request": 12345, "user": 3737})
            await http.post(
                "/v1/events", json={"events": [{"id": "e-37", "kind": "click", "decision": "0.12345", "slot": 0}]}
            )

    with caplog.at_level(logging.DEBUG, logger="tribid"):
        asyncio.run(run())
    assert "37" not in caplog.text and "12345" not in caplog.text and "127.0.0.1" not in caplog.text
