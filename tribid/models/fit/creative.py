"""Which creative to show, from a shop's log and its pictures to a run's folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.files import write_json
from tribid.models.creatives.hybrid import HybridBandit
from tribid.models.creatives.image_files import inside, load_pictures
from tribid.models.creatives.replay_game import Learnt
from tribid.models.creatives.served import ServedCreatives
from tribid.models.creatives.tastes import Tastes
from tribid.models.creatives.visual_prior import VisualPrior
from tribid.models.fit.data import LogSource
from tribid.models.fit.settings import built
from tribid.models.store import save_model


@dataclass(frozen=True, kw_only=True)
class CreativeFit:
    """What is fitted: VAM-HBM on the explored impressions of a log, where creatives were drawn evenly.

    ``settings`` are those of ``VisualPrior``, ``turn`` and ``slope`` the hybrid's.
    """

    source: LogSource
    settings: dict[str, Any] = field(default_factory=dict)
    turn: float = 1500.0
    slope: float = 500.0


def fit_creative(plan: CreativeFit, folder: str | Path) -> dict[str, float]:
    """Fit on all days but the last, measure by replay on the explored impressions of those, write the run.

    ``chosen_ctr`` is the click rate of those explored impressions whose creative the run would have picked, ``even_ctr``
    of all of them: what choosing is worth, without a model of the world (Li et al., WSDM 2011).
    """
    shown = plan.source.table("impressions")
    days = np.unique(shown["day"].to_numpy())
    if len(days) <= plan.source.test_days:
        raise ValueError(f"{plan.source.path} has {len(days)} days; allowed is more than {plan.source.test_days}")
    explored = shown.filter(pl.col("explored") & pl.col("creative_explored"))
    if not explored.height:
        raise ValueError(f"{plan.source.path} has no explored impressions; write the log with --explore above 0")
    train = explored.filter(pl.col("day") < days[-plan.source.test_days])
    test = explored.filter(pl.col("day") >= days[-plan.source.test_days])
    if not train.height or not test.height:
        raise ValueError(
            f"{plan.source.path} has {train.height} explored impressions to learn from and {test.height} to measure on; "
            "allowed are some of both"
        )
    served = _learnt(plan, train, int(shown["user"].max()) + 1)  # type: ignore[arg-type]  # users are whole numbers
    told = _replayed(served, test)
    save_model(served, folder, measures=told)
    write_json(Path(folder) / "fit.json", {"model": "vam_hbm", "explored": train.height, "measures": told})
    return told


def _learnt(plan: CreativeFit, train: pl.DataFrame, users: int) -> ServedCreatives:
    table = plan.source.table("creatives").sort("advertiser", "creative")
    ads, count = table["advertiser"].n_unique(), table["creative"].n_unique()
    if table.height != ads * count or table["advertiser"].to_list() != np.repeat(np.arange(ads), count).tolist():
        raise ValueError(
            f"creatives.parquet has {table.height} rows; allowed is {count} for each of the ads 0 to {ads - 1}"
        )
    pictures = load_pictures(inside(plan.source.path, table["picture"]))
    ad, creative, user = (train[name].to_numpy().astype(np.int64) for name in ("advertiser", "creative", "user"))
    click = train["click"].to_numpy().astype(np.float64)
    place = ad * count + creative
    prior = built("vam_hbm", VisualPrior, plan.settings).fit(
        pictures, table["advertiser"].to_numpy(), np.bincount(place, click, len(pictures)),
        np.bincount(place, minlength=len(pictures)),
    )  # fmt: skip
    seen = prior.features(pictures)
    tastes = Tastes().fit(seen, user, place, click, users=users)
    learnt = Learnt(prior, tastes, seen.reshape(ads, count, -1))
    bandit = HybridBandit(np.full(ads, count), prior_mean=learnt.prior_mean(), turn=plan.turn, slope=plan.slope)
    bandit.update(learnt.contexts(user, ad), ad, creative, click)
    return ServedCreatives.of(bandit, learnt)


def _replayed(served: ServedCreatives, test: pl.DataFrame) -> dict[str, float]:
    from tribid.envs.platform import Requests

    rows = test.height
    nothing: NDArray[np.int64] = np.zeros(rows, np.int64)
    requests = Requests(
        0, 0, nothing, test["user"].to_numpy().astype(np.int64), nothing, nothing, nothing,
        test["advertiser"].to_numpy()[:, None],
    )  # fmt: skip
    hit = served.pick(0, requests)[:, 0] == test["creative"].to_numpy()
    told = {"even_ctr": float(test["click"].mean() or 0.0), "impressions": float(rows), "agreed": float(hit.sum())}  # type: ignore[arg-type]  # a mean of numbers
    if hit.any():
        told["chosen_ctr"] = float(test["click"].to_numpy()[hit].mean())
    if "true_ctr" in test.columns:
        told["even_true_ctr"] = float(test["true_ctr"].to_numpy().mean(dtype=np.float64))
        if hit.any():
            told["chosen_true_ctr"] = float(test["true_ctr"].to_numpy()[hit].mean(dtype=np.float64))
    return told
