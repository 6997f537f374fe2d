"""Models of clicks and orders, from a log to a run's folder: learnt, calibrated, measured on days that taught nothing."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tribid.files import write_json
from tribid.models.batch import Examples
from tribid.models.calibration import BetaCalibrator, Calibrator, IsotonicCalibrator, PlattCalibrator
from tribid.models.calibration_measures import cal_n, pcoc, reliability_table
from tribid.models.creatives.cross_media import CrossMediaCtr, PictureFields
from tribid.models.fit.data import Cut, LogSource
from tribid.models.fit.gallery import PicturePlan, gallery_of_log
from tribid.models.fit.settings import built
from tribid.models.fitted import FittedModel
from tribid.models.ranking_measures import auc, gauc, log_loss
from tribid.models.store import KINDS
from tribid.models.trainer import FitSettings, Progress

CLICK_MODELS = {"lr": "logistic_ctr"} | {
    name: name for name in ("wide_deep", "deepfm", "din", "dien", "cross_media")
}  # fmt: skip
ORDER_MODELS = {name: name for name in ("click_only", "esmm", "esm2", "escm2_ips", "escm2_dr")}
"""Names on the command line, and the kinds of ``tribid.models.store`` behind them."""

CALIBRATORS: dict[str, type[Any]] = {"beta": BetaCalibrator, "isotonic": IsotonicCalibrator, "platt": PlattCalibrator}
_PART = 65_536


@dataclass(frozen=True, kw_only=True)
class RateFit:
    """What is fitted: a ``model`` of the names above, its own ``settings``, ``training``, and who calibrates it.

    ``pictures`` says how a cross-media model comes by its pictures; the others look at none.
    """

    source: LogSource
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: FitSettings = field(default_factory=FitSettings)
    calibration: Literal["beta", "isotonic", "platt", "none"] = "beta"
    pictures: PicturePlan = field(default_factory=PicturePlan)

    def __post_init__(self) -> None:
        names = {**CLICK_MODELS, **ORDER_MODELS}
        if self.model not in names:
            raise ValueError(f"model is {self.model!r}; choose {', '.join(names)}")
        if self.calibration not in (*CALIBRATORS, "none"):
            raise ValueError(f"calibration is {self.calibration!r}; choose {', '.join(CALIBRATORS)}, none")

    def fresh(self) -> Any:
        """The model before it has learnt."""
        module, name = KINDS[{**CLICK_MODELS, **ORDER_MODELS}[self.model]]
        fixed: dict[str, Any] = {"training": self.training}
        if self.model == CrossMediaCtr.kind:  # what is no JSON, and what the log decides
            fixed |= {"encoder": None, "fields": PictureFields()}
        return built(self.model, getattr(import_module(module), name), self.settings, **fixed)


def fit_rates(
    plan: RateFit, folder: str | Path, *, cut: Cut | None = None, progress: Progress | None = None
) -> dict[str, float]:
    """Fit, calibrate on the validation part, measure on the test part, and write the run; return the measures.

    ``cut`` is the source's own where it was made before. ``fit.json`` holds the measures, what was learnt of when, and
    a reliability table of each event.
    """
    parts = cut or plan.source.cut()
    model = plan.fresh()
    seen = {}
    if isinstance(model, CrossMediaCtr):
        seen["gallery"] = gallery_of_log(plan.source, parts.features, plan.pictures)
    model.fit(parts.train, parts.validation, folder=folder, progress=progress, **seen)
    raw = FittedModel(model=model, features=parts.features)
    fitted = FittedModel(model=model, features=parts.features, calibration=_calibrated(plan, raw, parts.validation))
    told, tables = measured(fitted, parts.test)
    fitted.save(folder, measures=told)
    record = model.record_
    write_json(
        Path(folder) / "fit.json",
        {
            "model": plan.model, "log": plan.source.path.name, "examples": len(parts.train), "seconds": record.seconds,
            "losses": record.losses, "validation": record.validation, "best": record.best, "measures": told,
            "reliability": tables,
        },
    )  # fmt: skip
    return told


def predicted(model: FittedModel, examples: Examples) -> dict[str, NDArray[np.float32]]:
    """Rates by event for logged impressions, [E] each."""
    rows = [np.arange(first, min(first + _PART, len(examples))) for first in range(0, len(examples), _PART)]
    told = [model.rates(examples.batch(part)) for part in rows]
    return {event: np.concatenate([one[event][:, 0] for one in told]) for event in told[0]}


def judged(examples: Examples) -> Examples:
    """The impressions that say how good rates are for any candidate: the explored ones, or all where there are none.

    What a platform chose to show is no sample of what it could have shown: its own predictions are in the choice.
    """
    explored = examples.extra.get("explored")
    if explored is None or not explored.any():
        return examples
    return examples.take(np.flatnonzero(explored))


def measured(model: FittedModel, examples: Examples) -> tuple[dict[str, float], dict[str, Any]]:
    """Measures of the rates on what ``judged`` leaves of examples, and a reliability table for each event.

    Of clicks AUC, GAUC, log loss, PCOC and Cal-N; of orders the same over clicks, and, where the truth is known,
    ``order_bias``, the mean prediction over those impressions, clicked or not, by the mean truth: 1 where conversions are
    neither over- nor underrated on the whole space. ``oracle_`` measures are those of the truth itself.
    """
    told: dict[str, float] = {}
    tables: dict[str, Any] = {}
    examples = judged(examples)
    clicked = examples.labels["click"] > 0
    for event, rate in predicted(model, examples).items():
        rows = np.ones(len(examples), np.bool_) if event == "click" else clicked
        if event not in examples.labels or not rows.any():
            continue
        label = examples.labels[event][rows]
        told |= _quality(event, label, rate[rows], examples.group[rows])
        tables[event] = {
            name: np.asarray(column).tolist() for name, column in reliability_table(rate[rows], label)._asdict().items()
        }
        truth = examples.extra.get("true_ctr" if event == "click" else "true_cvr")
        if truth is not None:
            true = np.asarray(truth, np.float64)
            told[f"{event}_bias"] = float(rate.mean(dtype=np.float64) / true.mean())
            told |= {
                f"oracle_{name}": value
                for name, value in _quality(event, label, true[rows], examples.group[rows]).items()
            }
    return told, tables


def _quality(event: str, label: NDArray[Any], rate: NDArray[Any], group: NDArray[np.int64]) -> dict[str, float]:
    """What can be said of these rows; what needs both labels is left out where all are alike."""
    found = {f"{event}_log_loss": log_loss(label, rate)}
    if len(np.unique(label)) < 2:
        return found
    found[f"{event}_auc"] = auc(label, rate)
    if label.any():
        found |= {f"{event}_pcoc": pcoc(rate, label), f"{event}_cal_n": cal_n(rate, label)}
    with suppress(ValueError):  # no user has both labels
        found[f"{event}_gauc"] = gauc(label, rate, group)
    return found


def _calibrated(plan: RateFit, raw: FittedModel, validation: Examples) -> dict[str, Calibrator]:
    if plan.calibration == "none":
        return {}
    found: dict[str, Calibrator] = {}
    validation = judged(validation)
    clicked = validation.labels["click"] > 0
    for event, rate in predicted(raw, validation).items():
        rows = np.ones(len(rate), np.bool_) if event == "click" else clicked
        label = validation.labels.get(event)
        if label is not None and len(np.unique(label[rows])) == 2:
            found[event] = CALIBRATORS[plan.calibration]().fit(rate[rows], label[rows])
    return found
