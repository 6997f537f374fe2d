"""A release whose policy fails is not put to use."""

import asyncio
from typing import Any

import pytest

from tribid.ranker import LiveRanker, Request
from tribid.ranker.service.app import make_app

httpx = pytest.importorskip("httpx")


def broken(state: Any) -> None:
    raise FloatingPointError("weights are not finite")


@pytest.mark.parametrize("clock", ["request", "wall"])
@pytest.mark.parametrize(("mode", "percent"), [("active", None), ("shadow", None), ("split", 10.0)])
def test_a_release_that_fails_at_once_is_refused_and_the_plan_stays(clock: Any, mode: Any, percent: Any) -> None:
    async def check() -> None:
        ranker = await LiveRanker.open("tiny", {"good": "truthful", "bad": "pid"}, clock=clock)
        before, release = ranker.policies(), ranker._releases.all["bad"]
        release.refresh = broken  # type: ignore[method-assign]
        with pytest.raises(ValueError, match=r"name is 'bad', whose policy fails .*not finite"):
            await ranker.activate("bad", mode=mode, percent=percent)
        assert ranker.policies() == before and release.multipliers is None
        page = await ranker.rank(Request(request=0, user=0))
        assert page.policy.startswith("good@") and page.fallbacks == () and not ranker.state().failed_refreshes
        await ranker.activate("bad", mode="off")  # it is off; nothing is asked of it
        del release.refresh
        assert (await ranker.activate("bad", mode=mode, percent=percent)) != before
        await ranker.close()

    asyncio.run(check())


def test_over_http_a_release_that_fails_at_once_is_422() -> None:
    async def check() -> None:
        ranker = await LiveRanker.open("tiny", {"good": "truthful", "bad": "pid"})
        ranker._releases.all["bad"].refresh = broken  # type: ignore[method-assign]
        transport = httpx.ASGITransport(make_app(ranker))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            answer = await http.post("/v1/policies/bad:activate", json={})
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "name")
            assert (await http.get("/v1/policies")).json()["active"] == "good"
        await ranker.close()

    asyncio.run(check())
