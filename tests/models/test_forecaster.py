"""Learnt rates in the market: for each request alone, as offline, and blind to the truth."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.models.fit.tiny_shop import SEED, TRAINING, scenario, shop
from tribid.envs import market
from tribid.envs.impressions import LogPlan, write_log
from tribid.envs.platform import Rates, Requests
from tribid.envs.world import build_world
from tribid.models.features import FeaturePipeline
from tribid.models.fit.data import LogSource
from tribid.models.fit.rates import RateFit, fit_rates, predicted
from tribid.models.fitted import FittedModel, load_fitted
from tribid.models.forecaster import LearntForecaster
from tribid.models.online_features import OnlineFeatures


@pytest.fixture(scope="module")
def din(runs: dict[str, Path]) -> FittedModel:
    return load_fitted(runs["din"])


@pytest.fixture(scope="module")
def esmm(runs: dict[str, Path]) -> FittedModel:
    return load_fitted(runs["esmm"])


@pytest.fixture(scope="module")
def asked() -> tuple[Requests, Rates]:
    """A tick's requests with a creative for each candidate, and their true rates."""
    world = shop()
    requests, truth = world.arrivals(world.day(SEED, 4), 2)
    creative = np.random.default_rng(0).integers(0, 5, requests.candidates.shape).astype(np.int8)
    return requests._replace(creative=creative), truth


def _part(requests: Requests, truth: Rates, rows: slice) -> tuple[Requests, Rates]:
    return requests.rows(rows), Rates(truth.ctr[rows], truth.cvr[rows])


def test_a_requests_rates_do_not_depend_on_the_others(din: FittedModel, esmm: FittedModel, asked) -> None:
    forecaster = LearntForecaster(shop(), click=din, order=esmm)
    whole = forecaster.predict(SEED, *asked)
    assert len(whole.ctr) > 40 and np.ptp(whole.ctr) > 0
    for rows in (slice(0, 1), slice(7, 8), slice(3, 20), slice(len(whole.ctr) - 1, None)):
        part = forecaster.predict(SEED, *_part(*asked, rows))
        for name in Rates._fields:
            got = getattr(part, name)
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, getattr(whole, name)[rows], rtol=1e-5, atol=1e-7)


def test_equal_requests_get_equal_rates(din: FittedModel, asked) -> None:
    requests, truth = asked
    twice = Requests(
        requests.day,
        requests.tick,
        *(None if column is None else np.concatenate([column, column[::-1]]) for column in requests[2:]),
    )
    both = Rates(*(np.concatenate([rate, rate[::-1]]) for rate in truth))
    rates = LearntForecaster(shop(), click=din).predict(SEED, twice, both).ctr
    np.testing.assert_array_equal(rates[: len(truth.ctr)], rates[len(truth.ctr) :][::-1])


def test_no_requests_get_no_rates(din: FittedModel, esmm: FittedModel, asked) -> None:
    none = LearntForecaster(shop(), click=din, order=esmm).predict(SEED, *_part(*asked, slice(0, 0)))
    assert none.ctr.shape == none.cvr.shape == (0, 6)


@pytest.mark.parametrize("name", ["lr", "din", "esmm"])
def test_logged_impressions_get_offline_what_the_market_gives_them(
    name: str, runs: dict[str, Path], log_folder: Path
) -> None:
    """The same user, day, tick, ad and creative."""
    fitted, world = load_fitted(runs[name]), shop()
    shown = pl.read_parquet(log_folder / "impressions.parquet")
    histories = pl.read_parquet(log_folder / "histories.parquet")
    offline = predicted(fitted, fitted.features.examples(shown, histories))
    forecaster = LearntForecaster(world, **dict.fromkeys(fitted.events, fitted))
    checked = 0
    for (day, tick), rows in shown.with_row_index().group_by("day", "tick", maintain_order=True):
        ad = rows["advertiser"].to_numpy()[:, None]
        nothing = np.zeros(len(ad), np.int64)
        requests = Requests(
            day, tick, rows["request"].to_numpy(), rows["user"].to_numpy().astype(np.int64), nothing, nothing, nothing,
            candidates=ad, creative=rows["creative"].to_numpy()[:, None],
        )  # fmt: skip
        truth = Rates(np.full(ad.shape, 0.5, np.float32), np.full(ad.shape, 0.5, np.float32))
        online = forecaster.predict(SEED, requests, truth)
        of = rows["index"].to_numpy()
        for event in fitted.events:
            rate = {"click": online.ctr, "order": online.cvr}[event]
            np.testing.assert_allclose(rate[:, 0], offline[event][of], rtol=1e-5, atol=1e-7)
        checked += len(of)
    assert checked == shown.height > 500


def test_the_market_predicts_with_the_model(din: FittedModel) -> None:
    """End to end: what a tick of the market says it predicted is what the forecaster says of its requests."""
    forecaster = LearntForecaster(shop(), click=din)
    state = market.reset(scenario(), SEED, 4, forecaster=forecaster)
    _, tick = market.step(state, np.ones(len(state.advertisers)))
    told = forecaster.predict(SEED, tick.requests, tick.truth)
    np.testing.assert_allclose(tick.predicted.ctr, told.ctr, rtol=1e-5)
    own = market.step(market.reset(scenario(), SEED, 4), np.ones(8))[1].predicted
    np.testing.assert_array_equal(tick.predicted.cvr, own.cvr)
    assert (tick.predicted.ctr != own.ctr).mean() > 0.99


@pytest.mark.parametrize("given", ["click", "order"])
def test_a_rate_that_no_model_gives_is_the_shops_own(given: str, esmm: FittedModel, asked) -> None:
    world = shop()
    told, own = (
        one.predict(SEED, *asked) for one in (LearntForecaster(world, **{given: esmm}), world.forecaster)
    )  # fmt: skip
    learnt, left = ("ctr", "cvr") if given == "click" else ("cvr", "ctr")
    np.testing.assert_array_equal(getattr(told, left), getattr(own, left))
    assert (getattr(told, learnt) != getattr(own, learnt)).any()


class _Unreadable:
    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"the truth was read: {name}")

    def __getitem__(self, name: object) -> None:
        raise AssertionError(f"the truth was read: {name}")

    def __iter__(self) -> None:
        raise AssertionError("the truth was read")


def test_the_truth_is_never_read_where_both_rates_are_learnt(din: FittedModel, esmm: FittedModel, asked) -> None:
    requests, truth = asked
    forecaster = LearntForecaster(shop(), click=din, order=esmm)
    blind = forecaster.predict(SEED, requests, _Unreadable())  # type: ignore[arg-type]
    np.testing.assert_array_equal(blind.ctr, forecaster.predict(SEED, requests, truth).ctr)
    knowing = build_world(scenario().with_changes(world__prediction__knows_state=True))
    with pytest.raises(AssertionError, match="the truth was read"):
        LearntForecaster(knowing, click=din).predict(SEED, requests, _Unreadable())  # type: ignore[arg-type]


def test_one_model_of_both_rates_is_asked_once(esmm: FittedModel, asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for, rates = [], FittedModel.rates
    monkeypatch.setattr(FittedModel, "rates", lambda self, batch: asked_for.append(batch.size) or rates(self, batch))
    told = LearntForecaster(shop(), click=esmm, order=esmm).predict(SEED, *asked)
    assert len(asked_for) == 1 and asked_for[0] <= len(told.ctr)


def test_models_of_the_same_features_read_one_batch_and_others_each_their_own(
    din: FittedModel, esmm: FittedModel, asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, batch = [], OnlineFeatures.batch
    monkeypatch.setattr(
        OnlineFeatures, "batch", lambda self, *given: batches.append(batch(self, *given)) or batches[-1]
    )
    assert din.features is not esmm.features
    both = LearntForecaster(shop(), click=din, order=esmm).predict(SEED, *asked)
    assert len(batches) == 1
    shorter = FeaturePipeline(config=esmm.features.config.model_copy(update={"history_length": 3}))
    shorter.vocabularies_, shorter.scales_ = esmm.features.vocabularies_, esmm.features.scales_
    other = FittedModel(model=esmm.model, features=shorter, calibration=esmm.calibration)
    apart = LearntForecaster(shop(), click=din, order=other).predict(SEED, *asked)
    assert [one.history_ids.shape[1] for one in batches[1:]] == [din.features.config.history_length, 3]
    np.testing.assert_array_equal(apart.ctr, both.ctr)
    assert (apart.cvr != both.cvr).any()


@pytest.mark.parametrize("name", ["din", "esmm"])
def test_a_lone_request_is_predicted_on_one_thread_and_the_others_threads_stay(
    name: str, runs: dict[str, Path], asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = load_fitted(runs[name])
    used, forward = [], type(fitted.model.network_).forward
    monkeypatch.setattr(
        type(fitted.model.network_),
        "forward",
        lambda self, t: used.append(torch.get_num_threads()) or forward(self, t),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        forecaster = LearntForecaster(shop(), **dict.fromkeys(fitted.events, fitted))
        forecaster.predict(SEED, *_part(*asked, slice(0, 1)))
        forecaster.predict(SEED, *asked)
        assert used == [1, 2] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_users_history_and_the_creative_move_the_rate(din: FittedModel, asked) -> None:
    requests, truth = asked
    forecaster = LearntForecaster(shop(), click=din)
    told = forecaster.predict(SEED, requests, truth).ctr
    other = forecaster.predict(SEED, requests._replace(creative=(requests.creative + 1) % 5), truth).ctr
    assert (told != other).mean() > 0.5
    later = forecaster.predict(SEED, requests._replace(day=3), truth).ctr
    assert (told != later).mean() > 0.5


def test_users_and_ads_that_no_log_has_shown_get_rates(log_folder: Path, tmp_path: Path) -> None:
    """A model that learnt from two days of it in a shop with other users: ids beyond its vocabulary are unknown."""
    folder = tmp_path / "log"
    write_log(LogPlan(scenario=scenario(), days=4, seed=9, explore=0.3, pictures=False), folder)
    shown = pl.read_parquet(folder / "impressions.parquet")
    shown.filter((pl.col("user") < 20) & (pl.col("advertiser") < 4)).write_parquet(folder / "impressions.parquet")
    fit_rates(RateFit(source=LogSource(path=folder), model="lr", training=TRAINING), tmp_path / "lr")
    world = shop()
    requests, truth = world.arrivals(world.day(SEED, 0), 0)
    rates = LearntForecaster(world, click=load_fitted(tmp_path / "lr")).predict(SEED, requests, truth).ctr
    assert np.isfinite(rates).all() and (rates > 0).all() and (rates < 1).all()


def test_a_model_that_does_not_give_the_rate_is_refused(din: FittedModel) -> None:
    with pytest.raises(ValueError, match="order is a din, which predicts click alone"):
        LearntForecaster(shop(), order=din)
    with pytest.raises(ValueError, match="neither click nor order is given"):
        LearntForecaster(shop())


def test_a_model_of_another_logs_columns_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(_criteo_rows(), encoding="utf-8")
    fit_rates(
        RateFit(source=LogSource(path=path, format="criteo"), model="lr", training=TRAINING), tmp_path / "lr"
    )  # fmt: skip
    with pytest.raises(ValueError, match="the click model reads 'I1' of the user, which a shop does not know"):
        LearntForecaster(shop(), click=load_fitted(tmp_path / "lr"))


def _criteo_rows() -> str:
    rows = [[str(n % 2), *(str(n % 5) for _ in range(13)), *("ab"[n % 2] for _ in range(26))] for n in range(60)]
    return "".join("\t".join(row) + "\n" for row in rows)
