"""A served journey is logged with the scene of each page, and made again with that scene's own slots."""

import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.envs.journey.conftest import SMALL
from tests.ranker.decision_log.pages import SALT
from tribid.envs import market
from tribid.envs.market import Tick
from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log import DecisionLog, LogReader, replay, user_token
from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import Decision, Event, Request

JOURNEY = load_scenario("journey").with_changes(**SMALL)
SCENES = tuple(scene.name for scene in JOURNEY.world.scenes)


def asked(before: market.MarketState, tick: Tick) -> list[Request]:
    """A tick's pages as a service is asked for them; the first scene's are sometimes left unnamed."""
    world, memory, requests = before.world, before.memory, tick.requests
    names, found = world.advertisers.names, []
    for row, user in enumerate(requests.user.tolist()):
        scene = world.journey.scenes[requests.scene[row]]
        about = None
        if scene.candidates == "cart":
            about = int(memory.cart[user])
        elif scene.candidates == "category":
            about = int(world.categories.category[requests.candidates[row].max()])
        found.append(
            Request(
                request=int(requests.request[row]), user=user, day=requests.day, tick=requests.tick,
                scene=None if scene.name == SCENES[0] and row % 2 else scene.name, category=about,
                bought=None if requests.bought[row] < 0 else int(requests.bought[row]),
                marks={names[b]: int(m) for b, m in enumerate(memory.marks[user]) if m},
                shown={names[b]: int(n) for b, n in enumerate(memory.shown[user]) if n},
            )
        )  # fmt: skip
    return found


def days_pages(scenario: Scenario) -> list[list[Request]]:
    """The pages of a simulated day, tick by tick."""
    state, found = market.reset(scenario, 5), []
    while not state.done:
        before = state
        state, tick = market.step(state, np.ones(len(state.advertisers)))
        found.append(asked(before, tick))
    return found


async def serve(scenario: Scenario, log: DecisionLog, ticks: list[list[Request]]) -> list[Decision]:
    """The day's pages answered by two releases beside a shadow, and some of their ads clicked."""
    live = await LiveRanker.open(
        scenario, {"pid": "pid", "dual": "dual_pacing", "plain": "truthful"}, log=log.append, seed=5
    )
    await live.activate("dual", mode="split", percent=40)
    await live.activate("plain", mode="shadow")
    rng, answered = np.random.default_rng(7), []
    for pages in ticks:
        told = await live.rank_many(pages)
        clicks = [
            Event(id=f"{page.id}.{slot.slot}", kind="click", decision=page.id, slot=slot.slot)
            for page in told
            for slot in page.slots
            if rng.random() < 0.02
        ]
        if clicks:
            await live.events(clicks[:1000])
        answered += told
    await live.close()
    return answered


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rules__auction": "vcg", "rules__ocpc__strategy": "conversion_rank", "rules__segments": "cluster"},
    ],
    ids=["gsp", "vcg"],
)
def test_every_page_of_a_served_journeys_day_is_made_again(changes: dict[str, object], tmp_path: Path) -> None:
    scenario = JOURNEY.with_changes(generated__budget_share=2.0, **changes)  # some run out of money to promise
    ticks = days_pages(scenario)
    with DecisionLog(tmp_path, scenario=scenario, salt=SALT) as log:
        answered = asyncio.run(serve(scenario, log, ticks))
    assert log.state().lost == 0
    pages = {page.request: page for pages in ticks for page in pages}
    assert len(answered) == len(pages) > 1_000
    slots = {s.name: len(s.slot_effects or scenario.rules.slot_effects) for s in scenario.world.scenes}
    seen: dict[str, int] = dict.fromkeys(SCENES, 0)
    answers = {decision.id: decision for decision in answered}
    for row in LogReader(tmp_path):
        decided, page = row.decided, pages[row.decided.request]
        assert decided.scene == (page.scene or SCENES[0])
        assert len(decided.winner) == slots[decided.scene]
        assert row.user == user_token(SALT, page.user)
        if decided.arm != "shadow":
            shown = [slot.ad for slot in answers[decided.id].slots]
            assert decided.winner.tolist() == shown + [-1] * (len(decided.winner) - len(shown))
            seen[decided.scene] += len(shown)
    assert min(seen.values()) > 5
    result = replay(tmp_path)
    assert result.differences == ()
    assert (result.decisions, result.different) == (2 * len(pages), 0)
    assert len(result.by_release) == 3


def logged_pages(scenario: Scenario, folder: Path, count: int = 60) -> list[Decided]:
    """Some decided pages of a journey, all scenes among them."""
    kept: list[Decided] = []

    async def play() -> None:
        live = await LiveRanker.open(scenario, {"it": "truthful"}, log=kept.append)
        for number in range(count):
            scene = SCENES[number % len(SCENES)]
            await live.rank(Request(request=number, user=number, scene=scene, category=number % 20, bought=number % 20))
        await live.close()

    asyncio.run(play())
    return kept


def write(scenario: Scenario, folder: Path, pages: list[Decided]) -> DecisionLog:
    with DecisionLog(folder, scenario=scenario, salt=SALT) as log:
        for page in pages:
            log.append(page)
    return log


def test_the_scene_decides_how_a_page_is_made_again(tmp_path: Path) -> None:
    scenario = JOURNEY.with_changes(rules__auction="vcg")  # whose prices depend on what each slot is seen by
    pages = logged_pages(scenario, tmp_path)
    write(scenario, tmp_path / "true", pages)
    assert replay(tmp_path / "true").different == 0
    moved = [page._replace(scene="cart") if page.scene == "logistics" else page for page in pages]
    write(scenario, tmp_path / "moved", moved)
    result = replay(tmp_path / "moved")
    assert result.different > 3
    assert {difference.field for difference in result.differences} == {"price_micros"}
    assert {difference.id for difference in result.differences} <= {p.id for p in pages if p.scene == "logistics"}


def test_a_scene_with_other_slots_is_refused(tmp_path: Path) -> None:
    pages = logged_pages(JOURNEY, tmp_path, 6)
    write(JOURNEY, tmp_path / "log", [page._replace(scene="home") for page in pages])
    with pytest.raises(ValueError, match=r"row 2: winner has 2 slots; allowed is 3"):
        replay(tmp_path / "log")


def test_pages_of_no_known_scene_are_refused_by_the_log_and_by_replay(tmp_path: Path) -> None:
    pages = logged_pages(JOURNEY, tmp_path, 6)
    log = write(JOURNEY, tmp_path / "log", [*pages, pages[0]._replace(scene="attic"), pages[1]._replace(scene=None)])
    state = log.state()
    assert (state.written, state.refused) == (6, 2)
    assert state.error == f"scene is None; allowed is {', '.join(SCENES)}"
    (file,) = (tmp_path / "log").glob("*.parquet")
    table = pq.read_table(file)
    attic = table.set_column(table.column_names.index("scene"), "scene", pa.array(["attic"] * 6))
    pq.write_table(attic.replace_schema_metadata(table.schema.metadata), file)
    with pytest.raises(ValueError, match=r"row 0: scene is 'attic'; allowed is home, guess, search"):
        replay(file)
    tiny = load_scenario("tiny")
    log = write(tiny, tmp_path / "tiny", [pages[0]._replace(scenario=tiny.hash)])
    assert log.state().error == "scene is 'home'; allowed is None"
