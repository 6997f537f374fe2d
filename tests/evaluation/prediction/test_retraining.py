"""Daily retraining as a run of its own: the same days however often it is started, and a table, a picture and a record."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
import yaml
from typer.testing import CliRunner

from tests.models.fit.tiny_shop import SIZES, scenario
from tribid.cli.retraining import retrain as command
from tribid.envs.scenario import Scenario, load_scenario
from tribid.evaluation.prediction.loop import retrained
from tribid.evaluation.prediction.plan import LoopPart, ModelPart
from tribid.evaluation.prediction.retraining import days_svg, retrain
from tribid.models.fitted import load_fitted

SHARE, SEED = 0.2, 500_001
SMALL = {"width": 4, "hidden": [8]}


def _plan(days: int, model: str = "lr", **settings: object) -> LoopPart:
    return LoopPart(days=days, window=2, model=ModelPart(model=model, settings=settings))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("retrain")
    return folder, retrain(scenario(), _plan(3), SHARE, folder, SEED)


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.glob("day-*/*"))}


def test_it_writes_a_row_a_day_a_picture_and_what_was_asked(done: tuple[Path, pl.DataFrame]) -> None:
    folder, table = done
    assert table["day"].to_list() == [0, 1, 2] and table["learnt"].to_list() == [0.0, 1.0, 1.0]
    assert pl.read_csv(folder / "days.csv").columns == table.columns
    assert ET.parse(folder / "days.svg").getroot().tag.endswith("svg")
    record = json.loads((folder / "retraining.json").read_text())
    assert record["hash"] == scenario().hash and record["seed"] == SEED and record["asked"]["explore"] == SHARE
    assert [day["bias_all"] for day in record["days"]] == table["bias_all"].to_list()


def test_no_prediction_orders_candidates_better_than_the_truth(done: tuple[Path, pl.DataFrame]) -> None:
    table = done[1]
    assert (table["auc_all"] < table["truth_auc_all"]).all()
    assert 0.9 < table["bias_all"][0] < 1.1  # on day 0 nobody has learnt yet


def test_a_run_that_was_stopped_goes_on_to_the_same_days(done: tuple[Path, pl.DataFrame], tmp_path: Path) -> None:
    retrain(scenario(), _plan(2), SHARE, tmp_path, SEED)
    before = _times(tmp_path)
    table = retrain(scenario(), _plan(3), SHARE, tmp_path, SEED)
    assert before.items() <= _times(tmp_path).items()
    assert table.equals(done[1])
    own, other = (load_fitted(folder / "day-2" / "model").model.learnt()[1] for folder in (done[0], tmp_path))
    for name, weights in own.items():
        np.testing.assert_array_equal(weights, other[name])


def test_a_day_that_was_cut_off_is_played_again(done: tuple[Path, pl.DataFrame], tmp_path: Path) -> None:
    retrain(scenario(), _plan(2), SHARE, tmp_path, SEED)
    (tmp_path / "day-1" / "told.json").unlink()
    assert retrain(scenario(), _plan(2), SHARE, tmp_path, SEED).equals(done[1].head(2))


def test_days_of_other_settings_are_not_taken_for_these(done: tuple[Path, pl.DataFrame], tmp_path: Path) -> None:
    retrain(scenario(), _plan(2), SHARE, tmp_path, SEED)
    other = retrain(scenario(), _plan(2), SHARE, tmp_path, SEED + 1)
    assert not other.equals(done[1].head(2))


def test_a_cross_media_model_learns_every_night_too(tmp_path: Path) -> None:
    sizes = {**SMALL, "attention": [4], "picture_width": 4}
    told = retrained(scenario(), _plan(2, "cross_media", **sizes), SHARE, tmp_path, SEED)
    assert told[1]["learnt"] and np.isfinite(list(told[1].values())).all()


def test_what_cannot_be_is_refused_before_a_day_is_played(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lr has no setting 'depth'"):
        retrained(scenario(), _plan(2, depth=3), SHARE, tmp_path, SEED)
    with pytest.raises(ValueError, match="scenario tiny is of kind feed; allowed is a shop"):
        retrained(load_scenario("tiny"), _plan(2), SHARE, tmp_path, SEED)
    with pytest.raises(ValueError, match="explore is 2"):
        retrained(scenario(), _plan(2), 2.0, tmp_path, SEED)
    assert not list(tmp_path.glob("day-*/told.json"))


def test_the_same_days_give_the_same_picture(done: tuple[Path, pl.DataFrame]) -> None:
    days = done[1].drop("day").to_dicts()
    assert days_svg(days) == (done[0] / "days.svg").read_text() == days_svg(days)


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def _shop_file(folder: Path, one: Scenario) -> str:
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(one.model_dump(mode="json")), encoding="utf-8")
    return str(path)


def test_the_command_tells_the_days_and_where_they_are(app: typer.Typer, tmp_path: Path) -> None:
    less = load_scenario("shop").with_changes(**SIZES | {"world__traffic__requests": 200})
    out = tmp_path / "run"
    given = ["-s", _shop_file(tmp_path, less), "--model", "lr", "--days", "2", "--out", str(out), "--explore", "0.3"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert "PCOC" in done.output and "days.svg" in done.output and (out / "days.csv").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model", "esmm"], "'esmm' is not known; choose lr or wide_deep"),
        (["--days", "1"], "days is 1"),
        (["--set", "width"], "--set is 'width'"),
        (["--set", "width=x"], "width of din is 'x'"),
        (["-s", "tiny"], "scenario tiny is of kind feed"),
    ],
)
def test_a_mistake_is_one_clear_line(app: typer.Typer, given: list[str], message: str, tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, [*given, "--out", str(tmp_path)])
    assert refused.exit_code == 2 and message in refused.output, refused.output
