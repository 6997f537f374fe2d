"""The pieces of a comparison of prediction models: the log, every fit, every loop; each leaves a record when it is done."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tribid.agents.log_policy import log_policy
from tribid.agents.rivals import rivals_in_turn
from tribid.envs.impressions import LogPlan, write_log
from tribid.evaluation.prediction.loop import retrained
from tribid.evaluation.prediction.plan import ModelPart, PredictionPlan
from tribid.evaluation.results import commit
from tribid.files import write_json
from tribid.models.fit.creative import CreativeFit, fit_creative
from tribid.models.fit.data import LogSource
from tribid.models.fit.gallery import PicturePlan
from tribid.models.fit.rates import RateFit, fit_rates, judged, predicted
from tribid.models.fit.retrieval import RetrievalFit, fit_retrieval
from tribid.models.fit.state import StateFit, fit_state
from tribid.models.fitted import load_fitted
from tribid.models.trainer import FitSettings

RECORD = "job.json"
LOG = "log"


class Job(NamedTuple):
    """A ``part`` of the plan, the ``name`` of what is fitted in it, and the training seed (-1: none)."""

    part: str
    name: str
    seed: int = -1

    def folder(self, out: Path) -> Path:
        """Where its work is."""
        return out / self.part / (self.name if self.seed < 0 else f"{self.name}-{self.seed}")


def jobs_of(plan: PredictionPlan) -> list[list[Job]]:
    """Stages in order; the jobs of a stage do not need each other."""
    fits = [Job(part, name, seed) for part in ("click", "order") for name in getattr(plan, part) for seed in plan.seeds]
    others = [Job("state", name) for name in plan.state] + [Job("tdm", "tdm"), Job("creative", "vam_hbm")]
    loops = [] if plan.loop is None else [Job("loop", f"explore-{share:g}") for share in plan.loop.explore]
    return [[Job(LOG, "log")], [*fits, *others, *loops]]


def is_done(plan: PredictionPlan, job: Job, out: Path) -> bool:
    """Whether a job has left a record of the very settings that the plan asks for."""
    path = job.folder(out) / RECORD
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("asked") == _asked(plan, job)


def do_job(plan: PredictionPlan, job: Job, out: Path) -> None:
    """Do a job and leave its record."""
    started, cpu = time.perf_counter(), time.process_time()
    measures = _DOERS[job.part](plan, job, out)
    write_json(
        job.folder(out) / RECORD,
        {
            "asked": _asked(plan, job), "measures": measures, "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu, "commit": commit(),
        },
    )  # fmt: skip


def record_of(job: Job, out: Path) -> dict[str, Any]:
    """The record of a job that is done."""
    content: dict[str, Any] = json.loads((job.folder(out) / RECORD).read_text(encoding="utf-8"))
    return content


def source(plan: PredictionPlan, out: Path) -> LogSource:
    """The log, and how it is cut."""
    part = plan.log
    return LogSource(path=out / LOG / "log", validation_days=part.validation_days, test_days=part.test_days)


def _asked(plan: PredictionPlan, job: Job) -> dict[str, Any]:
    """What decides a job's result, as JSON."""
    part: Any = getattr(plan, job.part)
    own = part[job.name] if job.part in ("click", "order", "state") else part
    content = own.model_dump(mode="json") if hasattr(own, "model_dump") else own
    said = {"scenario": plan.load().hash, "log": plan.log.model_dump(mode="json"), "own": content, "seed": job.seed}
    found: dict[str, Any] = json.loads(json.dumps(said))
    return found


def _log(plan: PredictionPlan, job: Job, out: Path) -> dict[str, Any]:
    scenario, part = plan.load(), plan.log
    policy = log_policy(rivals_in_turn(("truthful",), scenario))
    asked = LogPlan(scenario=scenario, days=part.days, seed=part.seed, explore=part.explore)
    return dict(write_log(asked, job.folder(out), policy=policy))


def rate_fit(plan: PredictionPlan, part: ModelPart, seed: int, where: LogSource) -> RateFit:
    """A model of the plan, ready to be fitted."""
    return RateFit(
        source=where, model=part.model, settings=part.settings,
        training=FitSettings(**{"seed": seed, "threads": 1, "tensorboard": False, **part.training}),
        pictures=PicturePlan(scenario=plan.load()),
    )  # fmt: skip


def _rates(plan: PredictionPlan, job: Job, out: Path) -> dict[str, Any]:
    asked = rate_fit(plan, getattr(plan, job.part)[job.name], job.seed, source(plan, out))
    cut, folder = asked.source.cut(), job.folder(out)
    told = fit_rates(asked, folder, cut=cut)
    test = judged(cut.test)
    rates = predicted(load_fitted(folder), test)
    columns = {"user": test.group, **{f"{event}_rate": rate for event, rate in rates.items()}, **test.labels}
    pl.DataFrame(columns | {"true_ctr": test.extra["true_ctr"]}).write_parquet(folder / "test.parquet")
    return {**told, "examples": len(cut.train), "test": len(test), "seconds": _seconds(folder)}


def _seconds(folder: Path) -> float:
    return float(json.loads((folder / "fit.json").read_text(encoding="utf-8"))["seconds"])


def _state(plan: PredictionPlan, job: Job, out: Path) -> dict[str, Any]:
    asked = StateFit(source=source(plan, out), model=job.name, settings=plan.state[job.name])
    return dict(fit_state(asked, job.folder(out)))


def _tdm(plan: PredictionPlan, job: Job, out: Path) -> dict[str, Any]:
    return dict(fit_retrieval(RetrievalFit(source=source(plan, out), settings=plan.tdm), job.folder(out)))


def _creative(plan: PredictionPlan, job: Job, out: Path) -> dict[str, Any]:
    return dict(fit_creative(CreativeFit(source=source(plan, out), settings=plan.creative), job.folder(out)))


def _loop(plan: PredictionPlan, job: Job, out: Path) -> dict[str, Any]:
    assert plan.loop is not None
    share = float(job.name.removeprefix("explore-"))
    days = retrained(plan.load(), plan.loop, share, job.folder(out), plan.log.seed + 1)
    return {"days": [{name: float(np.float64(value)) for name, value in day.items()} for day in days]}


_DOERS: dict[str, Callable[[PredictionPlan, Job, Path], dict[str, Any]]] = {
    LOG: _log, "click": _rates, "order": _rates, "state": _state, "tdm": _tdm, "creative": _creative, "loop": _loop,
}  # fmt: skip
