"""A service whose profiles cannot be kept is not ready, and is again when they can."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.ranker.consumers.house import open_service
from tribid.ranker.consumers.consumers import Consumers


def test_trouble_with_profiles_shows_in_the_readiness_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        assert (await http.get("/readyz")).status_code == 200
        with monkeypatch.context() as broken:
            broken.setattr(Consumers, "trouble", property(lambda self: "the disk is full"))
            answer = await http.get("/readyz")
            assert answer.status_code == 503 and "profiles cannot be kept" in answer.text
        assert (await http.get("/readyz")).status_code == 200

    asyncio.run(open_service(check, tmp_path))
