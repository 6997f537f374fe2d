"""Pictures of a shop's log in a cross-media model: the right ones, learnt from, and put into the market."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from tests.models.fit.tiny_shop import SEED, SIZES, TRAINING, scenario, shop
from tribid.cli import app
from tribid.envs import market
from tribid.envs.impressions import LogPlan, write_log
from tribid.envs.platform import Platform
from tribid.envs.scenario import Scenario, load_scenario
from tribid.models.creatives.image_files import load_pictures
from tribid.models.creatives.rate_picker import RatePicker
from tribid.models.features import FeaturePipeline
from tribid.models.fit.data import LogSource
from tribid.models.fit.gallery import PicturePlan, catalogue_pictures, gallery_of_log, gallery_of_shop
from tribid.models.fit.rates import RateFit, fit_rates
from tribid.models.fitted import FittedModel, load_fitted
from tribid.models.forecaster import LearntForecaster

SMALL = {"width": 4, "attention": [8], "hidden": [8], "picture_width": 4}
SIZE = 16


def _scenario_file(folder: Path, one: Scenario) -> str:
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(one.model_dump(mode="json")), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _scenario_file(tmp_path_factory.mktemp("scenario"), scenario())


@pytest.fixture(scope="module")
def plan(log_folder: Path, shop_file: str) -> RateFit:
    return RateFit(
        source=LogSource(path=log_folder), model="cross_media", settings=SMALL, training=TRAINING,
        pictures=PicturePlan(size=SIZE, scenario=shop_file),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(plan: RateFit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross-media")
    fit_rates(plan, folder)
    return folder


@pytest.fixture(scope="module")
def features(plan: RateFit) -> FeaturePipeline:
    return plan.source.cut().features


@pytest.fixture
def copied(log_folder: Path, tmp_path: Path) -> Path:
    """A copy of the log that may be changed."""
    return Path(shutil.copytree(log_folder, tmp_path / "log"))


def test_every_id_shows_the_picture_of_its_ad_or_item(plan: RateFit, features: FeaturePipeline) -> None:
    gallery, folder = gallery_of_log(plan.source, features, plan.pictures), plan.source.path
    ads, looks, items = (
        features.vocabularies_[name].ids(pl.Series(range(count)))
        for name, count in (("item", 8), ("creative", 5), ("item", 60))
    )
    assert (ads > 1).all() and (looks > 1).all()
    for ad, look in ((0, 0), (3, 2), (7, 4)):
        file = load_pictures([folder / "pictures" / f"{ad:05d}-{look}.png"], size=SIZE)[0]
        np.testing.assert_array_equal(gallery.pictures[gallery.of_creative[ads[ad], looks[look]]], file)
    table = plan.source.table("items")
    drawn = catalogue_pictures(scenario().world.seed, table, SIZE)
    known = np.flatnonzero(items > 1)
    assert len(known) > 20
    np.testing.assert_array_equal(gallery.pictures[gallery.of_item[items[known]]], drawn[known])
    assert (gallery.of_creative[:2] == -1).all() and (gallery.of_creative[:, :2] == -1).all()
    assert (gallery.of_item[:2] == -1).all()


def test_a_shop_draws_the_pictures_of_its_log(plan: RateFit, features: FeaturePipeline) -> None:
    given = PicturePlan(size=SIZE, scenario=scenario())
    of_log, of_shop = gallery_of_log(plan.source, features, given), gallery_of_shop(shop(), features, SIZE)
    for one, other in zip(of_log, of_shop, strict=True):
        np.testing.assert_array_equal(one, other)


def test_items_of_a_catalogue_may_be_real_files_and_some_may_have_none(
    copied: Path, plan: RateFit, features: FeaturePipeline
) -> None:
    red = np.full((20, 30, 3), (200, 10, 10), np.uint8)
    Image.fromarray(red).save(copied / "pictures" / "red.jpg")
    path = copied / "items.parquet"
    named = pl.when(pl.col("item") < 9).then(pl.lit("pictures/red.jpg"))
    pl.read_parquet(path).with_columns(picture=named).write_parquet(path)
    gallery = gallery_of_log(
        replace(plan.source, path=copied), features, PicturePlan(size=SIZE)
    )  # no scenario is needed
    items = features.vocabularies_["item"].ids(pl.Series(range(60)))
    seen = gallery.pictures[gallery.of_item[items[8]]]
    assert seen[8, 8, 0] > 180 and seen[8, 8, 1] < 40
    assert (gallery.of_item[items[9:]] == -1).all()


def test_pictures_that_cannot_be_had_are_refused(
    copied: Path, plan: RateFit, features: FeaturePipeline, shop_file: str, tmp_path: Path
) -> None:
    source = replace(plan.source, path=copied)
    with pytest.raises(
        ValueError, match=r"that of scenario shop is '\w+'; name the log's own scenario with --scenario"
    ):
        gallery_of_log(source, features)  # the log calls itself shop, but is of a smaller one
    with pytest.raises(ValueError, match=r"nowhere.*; name the log's own scenario"):
        gallery_of_log(source, features, PicturePlan(scenario="nowhere"))
    with pytest.raises(ValueError, match="pictures are learnt from a shop's log alone"):
        gallery_of_log(LogSource(path=copied, format="criteo"), features)
    with pytest.raises(ValueError, match="picture size is 4; allowed is 8 to 1024"):
        PicturePlan(size=4)
    items = pl.read_parquet(copied / "items.parquet")
    items.with_columns(picture=pl.lit("../secret.png")).write_parquet(copied / "items.parquet")
    with pytest.raises(
        ValueError, match=r"items\.parquet: picture is '\.\./secret\.png'; allowed are files in the log"
    ):
        gallery_of_log(source, features)
    (copied / "creatives.parquet").unlink()
    with pytest.raises(ValueError, match=r"no .*creatives\.parquet"):
        gallery_of_log(source, features)


def test_a_run_is_repeatable_and_loads_without_a_picture(plan: RateFit, run: Path, tmp_path: Path) -> None:
    fit_rates(plan, tmp_path)
    for name in ("card.json", "weights.safetensors", "features.json", "calibration-click.json"):
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()
    model, cut = load_fitted(run), plan.source.cut()
    batch = cut.test.batch(np.arange(50))
    np.testing.assert_array_equal(model.rates(batch)["click"], load_fitted(tmp_path).rates(batch)["click"])
    assert model.model.network_.encoder is None and model.events == ("click",)


def test_a_training_does_not_go_on_with_other_pictures(plan: RateFit, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(ValueError, match="another"):
        fit_rates(replace(plan, pictures=replace(plan.pictures, size=24)), tmp_path)


def test_it_predicts_in_the_market_and_another_creative_moves_its_rate(run: Path) -> None:
    forecaster = LearntForecaster(shop(), click=load_fitted(run))
    state = market.reset(scenario(), SEED, 4, forecaster=forecaster)
    _, tick = market.step(state, np.ones(len(state.advertisers)))
    told = forecaster.predict(SEED, tick.requests, tick.truth)
    np.testing.assert_allclose(tick.predicted.ctr, told.ctr, rtol=1e-5)
    other = tick.requests._replace(creative=np.full(told.ctr.shape, 2, np.int8))
    assert (forecaster.predict(SEED, other, tick.truth).ctr != told.ctr).mean() > 0.5


def test_its_pick_has_the_highest_rate_of_an_ads_creatives(run: Path) -> None:
    fitted, world = load_fitted(run), shop()
    picker, raw = RatePicker(world, fitted), FittedModel(model=fitted.model, features=fitted.features)
    platform = Platform(picker=picker)
    state = market.reset(scenario(), SEED, 4, platform=platform)
    _, tick = market.step(state, np.ones(len(state.advertisers)))
    requests = tick.requests
    assert requests.creative is not None and len(np.unique(requests.creative)) > 1
    forecaster = LearntForecaster(world, click=raw)

    def rates(creative: np.ndarray) -> np.ndarray:
        return forecaster.predict(SEED, requests._replace(creative=creative), tick.truth).ctr

    best = rates(requests.creative)
    for one in range(world.looks.count):
        assert (best >= rates(np.full(best.shape, one, np.int8)) - 1e-6).all()
    part = picker.pick(SEED, requests.rows(slice(3, 9))._replace(creative=None))
    np.testing.assert_array_equal(part, requests.creative[3:9])
    nobody = requests._replace(candidates=np.full_like(requests.candidates, -1), creative=None)
    assert (picker.pick(SEED, nobody) == 0).all()


def test_a_model_that_reads_no_creative_picks_none(runs: dict[str, Path]) -> None:
    fitted = load_fitted(runs["din"])
    config = fitted.features.config
    blind = FeaturePipeline(config=config.model_copy(update={"ad": config.ad[:2]}))
    with pytest.raises(ValueError, match="must read 'creative'"):
        RatePicker(shop(), FittedModel(model=fitted.model, features=blind))
    assert RatePicker(shop(), fitted) is not None


def test_the_command_line_learns_from_pictures(log_folder: Path, shop_file: str, tmp_path: Path) -> None:
    given = ["fit", "ctr", "--model", "cross_media", "--log", str(log_folder), "--picture-size", "8"]
    sets = [part for name, value in SMALL.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    done = CliRunner().invoke(app, [*given, *sets, "--scenario", shop_file, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert load_fitted(tmp_path / "run").model.kind == "cross_media"
    for more, message in (
        ([], "name the log's own scenario"),
        (["--picture-size", "2"], "picture size is 2"),
        (["--set", "encoder=x"], "cross_media has no setting 'encoder'"),
        (["--set", "most_encoded=0"], "most_encoded is 0"),
    ):
        refused = CliRunner().invoke(app, [*given, *more, "--out", str(tmp_path / "refused")])
        assert refused.exit_code == 2 and message in refused.output, refused.output


@pytest.mark.slow
def test_on_held_out_days_pictures_predict_better_than_ids_where_looks_decide(tmp_path: Path) -> None:
    """160 creatives, each shown some 26 times: too few for ids, but all users like the same looks."""
    looks = {"world__creatives__count": 20, "world__creatives__common": 2.0, "world__creatives__own": 0.0}
    world = load_scenario("shop").with_changes(**SIZES, **looks, world__creatives__taste=0.0)
    write_log(LogPlan(scenario=world, days=10, seed=SEED, explore=1.0), tmp_path / "log")
    training = TRAINING.model_copy(update={"epochs": 16, "learning_rate": 5e-3, "batch_size": 128})
    told = {}
    for name, seen in (("ids", False), ("pictures", True)):
        asked = RateFit(
            source=LogSource(path=tmp_path / "log"), model="cross_media", training=training,
            settings=SMALL | {"hidden": [16], "picture_width": 8, "ad_picture": seen, "behaviour_pictures": seen},
            pictures=PicturePlan(size=SIZE, scenario=_scenario_file(tmp_path, world)),
        )  # fmt: skip
        told[name] = fit_rates(asked, tmp_path / name)["click_auc"]
    assert told["pictures"] > told["ids"] + 0.05, told
