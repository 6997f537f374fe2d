"""The feedback loop: a model learns every night from what it was itself shown to have chosen, and its bias is told.

What a platform logs is what its model chose to show, so that errors upwards are shown and corrected, and errors downwards
are not seen again. Only a simulator knows how far predictions are off for what was not shown.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tribid.agents.log_policy import log_policy
from tribid.agents.rivals import rivals_in_turn
from tribid.envs.impressions import LogPlan, write_log
from tribid.envs.platform import Forecaster
from tribid.envs.scenario import Scenario
from tribid.envs.shop import Shop
from tribid.envs.world import build_world
from tribid.files import read_json, write_json
from tribid.models.creatives.cross_media import CrossMediaCtr
from tribid.models.features import FeaturePipeline, shop_features
from tribid.models.fit.data import LogSource
from tribid.models.fit.gallery import gallery_of_shop
from tribid.models.fit.rates import RateFit
from tribid.models.fitted import FittedModel, load_fitted
from tribid.models.forecaster import LearntForecaster
from tribid.models.ranking_measures import expected_auc
from tribid.models.trainer import FitSettings

if TYPE_CHECKING:
    from tribid.evaluation.prediction.plan import LoopPart


DAY_FILE, MODEL = "told.json", "model"
MEASURES = ("learnt", "bias_shown", "bias_all", "pcoc_shown", "error", "auc_all", "truth_auc_all", "ctr", "ads")
Logs = list[tuple[pl.DataFrame, pl.DataFrame]]


def retrained(
    scenario: Scenario,
    plan: "LoopPart",
    explore: float,
    folder: Path,
    seed: int,
    *,
    bidders: tuple[str, ...] = ("truthful",),
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, float]]:
    """Play ``plan.days`` days; on each the model of the last ``plan.window`` days' log predicts. A dict of each day:

    ``bias_shown`` and ``bias_all``, the mean predicted click rate by the mean true one, over what was shown without
    exploration and over all candidates; ``pcoc_shown`` the same by the clicks, as a platform could know it; ``error`` the
    mean absolute log-ratio over all candidates; ``auc_all`` and ``truth_auc_all`` the expected AUC over all candidates of
    the predictions and of the truth; ``ctr`` of what was shown without exploration; ``ads`` how many advertisers were shown
    at least 20 times; ``learnt`` whether a model predicted (on the first day the shop's own noisy truth does).

    Each day leaves its log, what was told of it, and the model that it taught in ``folder/day-N``; days of the same
    settings that are there are not played again. Raises ``ValueError`` for what is no shop or no model.
    """
    if not 0 <= explore < 1:
        raise ValueError(f"explore is {explore}; allowed is a share from 0 to less than 1: the model shows the others")
    fresh = _fresh(plan, folder)
    shop = build_world(scenario)
    if not isinstance(shop, Shop):
        raise ValueError(f"scenario {scenario.name} is of kind {scenario.world.kind}; allowed is a shop")
    policy = log_policy(rivals_in_turn(bidders, scenario))
    forecaster: Forecaster | None = None
    told = []
    for day in range(plan.days):
        where, asked = _place(folder, day), _asked(scenario, plan, explore, seed, bidders, day)
        known = _known(where, asked)
        if known is None:
            log = LogPlan(scenario=scenario, days=1, first_day=day, seed=seed, explore=explore, pictures=False)
            write_log(log, where, policy=policy, forecaster=forecaster)
            shown = pl.read_parquet(where / "impressions.parquet")
            known = _day(shop, forecaster or shop.forecaster, shown, seed, day) | {"learnt": float(day > 0)}
            _fitted(fresh, shop, _logs(plan, folder, day)).save(where / MODEL)
            write_json(where / DAY_FILE, {"asked": asked, "measures": known})
        told.append({name: known[name] for name in MEASURES})
        forecaster = LearntForecaster(shop, click=load_fitted(where / MODEL))
        if progress is not None:
            progress(day + 1, plan.days)
    return told


def _place(folder: Path, day: int) -> Path:
    return folder / f"day-{day}"


def _logs(plan: "LoopPart", folder: Path, day: int) -> Logs:
    """The impressions and histories that are learnt from in the night after ``day``."""
    places = [_place(folder, one) for one in range(max(0, day + 1 - plan.window), day + 1)]
    return [
        (pl.read_parquet(one / "impressions.parquet"), pl.read_parquet(one / "histories.parquet")) for one in places
    ]


def _asked(
    scenario: Scenario, plan: "LoopPart", explore: float, seed: int, bidders: tuple[str, ...], day: int
) -> dict[str, Any]:
    """What decides how a day goes, as JSON; how many days there will be does not."""
    loop = plan.model_dump(mode="json", exclude={"days", "explore"})
    return {
        "scenario": scenario.hash, "loop": loop, "explore": explore, "seed": seed, "bidders": list(bidders), "day": day,
    }  # fmt: skip


def _known(where: Path, asked: dict[str, Any]) -> dict[str, float] | None:
    """What was told of a day, if just that was played before."""
    path = where / DAY_FILE
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict) or found.get("asked") != asked or set(found.get("measures", ())) != set(MEASURES):
        return None
    measures: dict[str, float] = found["measures"]
    return measures


def _fresh(plan: "LoopPart", folder: Path) -> RateFit:
    training = FitSettings(**{"threads": 1, "tensorboard": False, **plan.model.training})
    asked = RateFit(
        source=LogSource(path=folder), model=plan.model.model, settings=plan.model.settings, training=training
    )
    asked.fresh()  # what cannot be made is refused before a day is played
    return asked


def _fitted(plan: RateFit, shop: Shop, logs: Logs) -> FittedModel:
    starts = np.cumsum([0, *(histories.height for _, histories in logs)])
    shown = pl.concat(
        [rows.with_columns(pl.col("history") + start) for (rows, _), start in zip(logs, starts[:-1], strict=True)]
    )
    histories = pl.concat([past for _, past in logs])
    features = FeaturePipeline(config=shop_features(ticks=shop.n_ticks)).fit(shown, histories)
    fresh = plan.fresh()
    seen = {"gallery": gallery_of_shop(shop, features)} if isinstance(fresh, CrossMediaCtr) else {}
    return FittedModel(model=fresh.fit(features.examples(shown, histories), **seen), features=features)


def _day(shop: Shop, forecaster: Forecaster, shown: pl.DataFrame, seed: int, day: int) -> dict[str, float]:
    own = shown.filter(~pl.col("explored"))
    plan = shop.day(seed, day)
    predicted, true = [], []
    for tick in range(0, shop.n_ticks, 6):
        requests, truth = shop.arrivals(plan, tick)
        predicted.append(forecaster.predict(seed, requests, truth).ctr.ravel())
        true.append(truth.ctr.ravel())
    rate, truth_ctr = (np.concatenate(parts).astype(np.float64) for parts in (predicted, true))
    counts = own.group_by("advertiser").len()["len"].to_numpy()
    return {
        "bias_shown": float(
            own["pctr"].to_numpy().mean(dtype=np.float64) / own["true_ctr"].to_numpy().mean(dtype=np.float64)
        ),
        "bias_all": float(rate.mean() / truth_ctr.mean()),
        "pcoc_shown": float(own["pctr"].to_numpy().mean(dtype=np.float64) / max(own["click"].to_numpy().mean(), 1e-9)),
        "error": float(np.abs(np.log(np.maximum(rate, 1e-6) / truth_ctr)).mean()),
        "auc_all": expected_auc(truth_ctr, rate),
        "truth_auc_all": expected_auc(truth_ctr, truth_ctr),
        "ctr": float(own["true_ctr"].to_numpy().mean(dtype=np.float64)),
        "ads": float((counts >= 20).sum()),
    }
