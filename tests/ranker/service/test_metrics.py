"""Metrics of mails' slots: one counter of every outcome, from 0."""

import asyncio
import re

import pytest

from tests.ranker.open_time.house import a_slot, a_stock, a_token, open_time
from tests.ranker.service.conftest import open_tiny
from tribid.ranker.open_time.open_time import OUTCOMES, OpenTime, RefusedError
from tribid.ranker.open_time.tokens import Signer
from tribid.ranker.service.metrics import Metrics
from tribid.ranker.service.settings import Settings


def watched(slots: OpenTime | None) -> tuple[Metrics, OpenTime | None]:
    """Metrics of a tiny ranker beside some slots."""

    async def opened() -> Metrics:
        live = await open_tiny()
        metrics = Metrics(Settings())
        metrics.watch(live, slots)
        await live.close()
        return metrics

    return asyncio.run(opened()), slots


def outcomes(metrics: Metrics) -> dict[str, float]:
    found = re.findall(r'^tribid_mail_slots_total\{outcome="(\w+)"\} (\S+)$', metrics.text().decode(), re.M)
    return {name: float(count) for name, count in found}


def test_what_became_of_slots_is_counted_by_outcome() -> None:
    metrics, slots = watched(open_time(a_stock(1)))
    assert slots is not None
    assert len(outcomes(metrics)) == len(OUTCOMES) and set(outcomes(metrics).values()) == {0.0}

    async def use() -> None:
        opened = await slots.open(a_token())
        slots.stock.update(0, count=0)
        opened.content()
        await slots.open(a_token(number=1))
        forged = Signer([b"x" * 32]).token("open", a_slot())
        for _ in range(2):
            with pytest.raises(RefusedError):
                await slots.open(forged)
        await slots.close()

    asyncio.run(use())
    told = {name: count for name, count in outcomes(metrics).items() if count}
    assert told == {"drawn": 1, "fallback_changed": 1, "fallback_sold_out": 1, "refused_forged": 2}


def test_a_service_without_slots_has_no_metric_of_them() -> None:
    assert outcomes(watched(None)[0]) == {}
