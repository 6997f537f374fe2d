"""Learnt parts in the evaluation: they change the days, in one process or in two, and what does not fit is refused first."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.models.fit.tiny_shop import SIZES, scenario
from tribid.agents.bidder import BidderSpace
from tribid.agents.registry import make_bidder
from tribid.agents.rivals import rivals_in_turn
from tribid.envs.scenario import load_scenario
from tribid.evaluation import contest
from tribid.evaluation.contest import HELD_OUT, Contestant, Protocol, Run, evaluate
from tribid.evaluation.platform.parts import OWN, LearntParts, load_parts, parts_of
from tribid.evaluation.run import judge
from tribid.models.creatives.rate_picker import RatePicker
from tribid.models.creatives.served import ServedCreatives
from tribid.models.forecaster import LearntForecaster

DYNAMIC = scenario().with_changes(rules__ocpc__index="dynamic")
"""The tiny shop where what is held of a visit's state moves the ranking, whoever bids."""


def _protocol(parts: LearntParts = OWN) -> Protocol:
    return Protocol(
        scenario=DYNAMIC, focal=(0, 2), rivals=rivals_in_turn(("truthful",), scenario()),
        eval_seeds=(HELD_OUT, HELD_OUT + 1), parts=parts,
    )  # fmt: skip


def _runs(parts: LearntParts, workers: int = 1) -> list[Run]:
    pid = Contestant(name="pid", kind="rule", bidders={-1: make_bidder("pid", BidderSpace.of(scenario()))})
    return evaluate([pid], _protocol(parts), workers=workers).runs["pid"]


def _sides(runs: list[Run]) -> list[dict[str, float | None]]:
    """What the days were worth, by side and metric; NaN, which equals nothing, as None."""
    return [
        {
            f"{side} {name}": None if np.isnan(value) else value
            for side in day.sides
            for name, value in day.sides[side].items()
        }
        for day in runs
    ]


@pytest.fixture(scope="module")
def own() -> list[Run]:
    return _runs(OWN)


@pytest.fixture(scope="module")
def every(runs: dict[str, Path]) -> LearntParts:
    return parts_of(
        (str(runs["esmm"]), str(runs["din"])), retrieval=str(runs["tdm"]), creative=str(runs["creative"]),
        state=str(runs["state"]),
    )  # fmt: skip


def test_the_same_parts_play_the_same_days(own: list[Run], every: LearntParts) -> None:
    assert _sides(_runs(OWN)) == _sides(own)
    assert _sides(_runs(every)) == _sides(_runs(every)) != _sides(own)


@pytest.mark.parametrize("name", ["rates", "retrieval", "creative", "state"])
def test_each_part_changes_the_days(name: str, runs: dict[str, Path], own: list[Run]) -> None:
    folder = str(runs[{"rates": "din", "retrieval": "tdm"}.get(name, name)])
    parts = parts_of((folder,)) if name == "rates" else parts_of(**{name: folder})
    learnt = _runs(parts)
    assert [run.eval_seed for run in learnt] == [run.eval_seed for run in own]
    assert all(a != b for a, b in zip(_sides(learnt), _sides(own), strict=True))


def test_a_click_model_picks_creatives_too(runs: dict[str, Path], own: list[Run]) -> None:
    parts = parts_of(creative=str(runs["din"]))
    forecaster, platform = load_parts(scenario(), parts)
    assert forecaster is None and platform is not None and isinstance(platform.picker, RatePicker)
    assert all(a != b for a, b in zip(_sides(_runs(parts)), _sides(own), strict=True))


def test_two_processes_play_the_same_days_as_one(every: LearntParts) -> None:
    assert _sides(_runs(every)) == _sides(_runs(every, workers=2))


def test_the_later_of_two_runs_gives_the_rate(runs: dict[str, Path]) -> None:
    din, esmm = str(runs["din"]), str(runs["esmm"])
    assert parts_of((esmm, din)) == LearntParts(click=din, order=esmm)
    assert parts_of((din, esmm)) == LearntParts(click=esmm, order=esmm)
    assert parts_of(()) == OWN and not OWN and LearntParts(state="x")


def test_parts_are_loaded_once_and_again_where_the_folder_has_changed(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(runs["din"], tmp_path / "run")
    parts = parts_of((str(folder),))
    first, platform = load_parts(scenario(), parts)
    assert isinstance(first, LearntForecaster) and platform is not None and load_parts(scenario(), parts)[0] is first
    shutil.rmtree(folder)
    shutil.copytree(runs["lr"], folder)
    assert load_parts(scenario(), parts)[0] is not first
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="no folder"):
        load_parts(scenario(), parts)


def test_nothing_learnt_is_the_worlds_own(runs: dict[str, Path]) -> None:
    assert load_parts(load_scenario("tiny"), OWN) == (None, None)
    forecaster, platform = load_parts(scenario(), parts_of(creative=str(runs["creative"])))
    assert forecaster is None and platform is not None and isinstance(platform.picker, ServedCreatives)
    assert platform.retriever is None and platform.state is None


def test_a_scenario_that_is_no_shop_is_refused_before_anything_is_played(
    every: LearntParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(*_: object, **__: object) -> None:
        raise AssertionError("a day was played")

    monkeypatch.setattr(contest, "play_day", played)
    said = "scenario tiny is of kind feed; learnt parts need a shop"
    with pytest.raises(ValueError, match=said):
        replace(_protocol(every), scenario=load_scenario("tiny"))
    with pytest.raises(ValueError, match=said):
        load_parts(load_scenario("tiny"), every)
    with pytest.raises(ValueError, match=said):
        judge(load_scenario("tiny"), ["pid"], eval_seeds=(HELD_OUT, HELD_OUT + 1), parts=every)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": "creative"}, "holds a creatives; allowed is a run of `tribid fit state`"),
        ({"creative": "state"}, "kind is 'state_counts'; allowed is 'creatives'"),
        ({"retrieval": "state"}, r"tdm\.json"),
        ({"click": "state"}, "a state_counts predicts no rates of ads"),
        ({"order": "din"}, "order is a din, which predicts click alone"),
    ],
)
def test_a_run_of_another_family_is_refused(given: dict[str, str], message: str, runs: dict[str, Path]) -> None:
    parts = LearntParts(**{name: str(runs[run]) for name, run in given.items()})
    with pytest.raises(ValueError, match=message):
        load_parts(scenario(), parts)


@pytest.mark.parametrize("name", ["click", "retrieval", "creative", "state"])
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absent"):
        load_parts(scenario(), LearntParts(**{name: str(tmp_path / "absent")}))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tdm", {"world__catalogue__items": 61}, "finds among 60 items; allowed is the shop's 61"),
        ("creative", {"generated__count": 9}, "knows 8 ads with 5 creatives; allowed is the shop's 9 with 5"),
        ("creative", {"world__creatives__count": 4}, "knows 8 ads with 5 creatives; allowed is the shop's 8 with 4"),
    ],
)
def test_parts_of_a_shop_of_another_size_are_refused(
    name: str, changes: dict[str, int], message: str, runs: dict[str, Path]
) -> None:
    other = load_scenario("shop").with_changes(**(SIZES | changes))
    part = {"tdm": "retrieval"}.get(name, name)
    with pytest.raises(ValueError, match=message):
        load_parts(other, parts_of(**{part: str(runs[name])}))
