"""The log says what a release that only decided in shadow would have earned."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.ranker.decision_log.pages import SALT, random_pages
from tribid.envs.scenario import load_scenario
from tribid.evaluation.off_policy import effective_sample_size, importance_weights
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log import DecisionLog, LogReader
from tribid.ranker.decision_log.export import shown
from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import Offer, Request

TINY = load_scenario("tiny").with_changes(generated__count=12)


def write(folder: Path, pages: list[Decided]) -> None:
    with DecisionLog(folder, scenario=TINY, salt=SALT) as log:
        for page in pages:
            log.append(page)


def test_every_ad_that_won_a_slot_is_there_once(tmp_path: Path) -> None:
    pages = [page for page in random_pages(TINY, 40) if page.arm != "shadow"]
    write(tmp_path, [*pages, *pages[:5]])  # five were decided twice
    found = shown(tmp_path)
    wanted = [(p.id, slot, int(ad)) for p in pages for slot, ad in enumerate(p.winner) if ad >= 0]
    assert list(zip(found.id.tolist(), found.slot.tolist(), found.ad.tolist(), strict=True)) == wanted
    assert found.pages == len(pages) and (found.chosen == 1.0).all()
    by_id = {page.id: page for page in pages}
    for row, (page, slot, ad) in enumerate(wanted):
        place = by_id[page].ads.tolist().index(ad)
        assert found.propensity[row] == by_id[page].propensity[place] and found.pctr[row] == by_id[page].pctr[place]
        assert found.price_micros[row] == by_id[page].price_micros[slot] and found.score[row] == by_id[page].score[slot]


def test_pages_that_nobody_won_count_and_show_nothing(tmp_path: Path) -> None:
    pages = [page for page in random_pages(load_scenario("tiny"), 300) if page.winner[0] < 0 and page.arm != "shadow"]
    with DecisionLog(tmp_path, scenario="tiny", salt=SALT) as log:
        for page in pages:
            log.append(page)
    found = shown(tmp_path)
    assert found.pages == len(pages) > 0 and len(found.ad) == len(found.id) == 0


def test_a_target_that_decided_nothing_in_shadow_is_refused(tmp_path: Path) -> None:
    page = random_pages(TINY, 1)[0]
    write(tmp_path, [page._replace(arm="active", release="pid@1"), page._replace(arm="shadow", release="new@2")])
    assert shown(tmp_path, "new").pages == shown(tmp_path, "new@2").pages == 1
    with pytest.raises(ValueError, match="target is 'pid'; allowed is those in shadow, new@2"):
        shown(tmp_path, "pid")
    with pytest.raises(ValueError, match="target is 'new@3'; allowed is those in shadow, new@2"):
        shown(tmp_path, "new@3")


def test_what_a_shadow_would_have_earned_is_estimated_from_pages_that_others_answered(tmp_path: Path) -> None:
    async def serve(log: DecisionLog, count: int) -> None:
        rng = np.random.default_rng(1)
        releases = {"active": "random", "half": "truthful", "new": "truthful"}
        live = await LiveRanker.open(rich, releases, log=log.append)
        await live.activate("half", mode="split", percent=50)
        await live.activate("new", mode="shadow")
        for number in range(count):
            offers = tuple(Offer(advertiser=n, pctr=float(rng.random()), pcvr=float(rng.random())) for n in live.names)
            await live.rank(Request(request=number, candidates=offers, tick=number * 8 // count))
        await live.close()

    rich = TINY.with_changes(generated__budget_share=1_000.0)  # nobody runs out
    with DecisionLog(tmp_path, scenario=rich, salt=SALT) as log:
        asyncio.run(serve(log, 2_000))
    found = shown(tmp_path, "new")
    # Let a page be worth the squared click rates of its ads: that can be told of the shadow's own pages, too.
    worth = [
        sum(float(d.pctr[d.ads.tolist().index(ad)]) ** 2 for ad in d.winner.tolist() if ad >= 0)
        for d in (logged.decided for logged in LogReader(tmp_path))
        if d.arm == "shadow"
    ]
    weights = importance_weights(found.propensity, found.chosen)
    rewards = found.pctr.astype(np.float64) ** 2
    estimate, as_shown, true = rewards @ weights / found.pages, rewards.sum() / found.pages, float(np.mean(worth))
    assert found.pages == len(worth) == 2_000
    assert effective_sample_size(weights) > 500
    assert abs(estimate / true - 1) < 0.05
    assert abs(as_shown / true - 1) > 2 * abs(estimate / true - 1)  # a mean over what was shown is of another policy
