"""The work of a comparison, cut into jobs that leave a file each: record days, train a policy, play held-out days.

A job whose file is there, made from the same plan, is not done again; so a run that was stopped goes on where it was.
"""

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.own import load_own
from tribid.agents.seeds import describe
from tribid.evaluation.bench.plan import BenchPlan
from tribid.evaluation.contest import Contestant, Protocol, Run, play_run
from tribid.evaluation.entries import entrant, trained_entrant
from tribid.evaluation.results import commit, plain
from tribid.files import read_json, write_json


class Job(NamedTuple):
    """What to do: ``kind`` collect, train or play; in which market; which method (none for collect); which training seed."""

    kind: str
    market: str
    method: str = ""
    seed: int = -1

    def file(self, out: Path) -> Path:
        """Where its record is."""
        if self.kind == "collect":
            return out / "logs" / self.market / "record.json"
        if self.kind == "train":
            return run_folder(out, self.market, self.method) / f"seed-{self.seed}" / "record.json"
        return out / "played" / self.market / f"{self.method.replace(':', '_')}.json"


def run_folder(out: Path, market: str, method: str) -> Path:
    """The training run of a method in a market."""
    return out / "runs" / market / method


def jobs_of(plan: BenchPlan) -> list[list[Job]]:
    """The jobs in three stages; those of a stage need nothing of each other."""
    learnt = [name for name, part in plan.methods.items() if part.algorithm]
    offline = any(ALGORITHMS[str(plan.methods[name].algorithm)].offline for name in learnt)
    homes = [name for name, market in plan.markets.items() if market.trained_in is None]
    return [
        [Job("collect", market) for market in homes if offline],
        [Job("train", market, name, seed) for market in homes for name in learnt for seed in plan.train_seeds],
        [Job("play", market, name) for market in plan.markets for name in plan.methods],
    ]


def fingerprint(plan: BenchPlan, job: Job) -> str:
    """Names everything of the plan that the job's outcome depends on."""
    market = plan.markets[job.market]
    home = market.trained_in or job.market
    content: dict[str, Any] = {
        "job": job._asdict(),
        "scenario": market.load().hash,
        "home": plan.markets[home].load().hash,
        "rivals": plan.rivals,
        "focal": market.focal or plan.focal,
        "learners": plan.markets[home].focal or plan.focal,
    }
    if job.method:
        method = plan.methods[job.method]
        content["method"] = method.model_dump(mode="json", exclude={"trials"})
        content["training"] = plan.training if method.algorithm else {}
        if method.algorithm and ALGORITHMS[method.algorithm].offline:
            content["collect"] = plan.collect.model_dump(mode="json")
        if (method.bidder or "").endswith(".safetensors"):
            content["file"] = hashlib.sha256(Path(str(method.bidder)).read_bytes()).hexdigest()
    if job.kind == "collect":
        content["collect"] = plan.collect.model_dump(mode="json")
    if job.kind == "play":
        content |= {"days": [plan.first_eval_seed, plan.eval_days], "train_seeds": plan.train_seeds}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()[:16]


def is_done(plan: BenchPlan, job: Job, out: Path) -> bool:
    """Whether its record is there and was made from this plan, without a failure."""
    file = job.file(out)
    if not file.is_file():
        return False
    record = read_json(file)
    return record.get("fingerprint") == fingerprint(plan, job) and not record.get("failed")


def do_job(plan: BenchPlan, job: Job, out: Path, own: tuple[str, ...] = ()) -> str:
    """Do it and write its record; what went wrong, or nothing.

    A method that fails (it diverges, does not fit the market, has a fault) is recorded as failed and does not stop the
    others.
    """
    load_own(own)
    started, cpu = time.perf_counter(), time.process_time()
    try:
        found = _KINDS[job.kind](plan, job, out)
        failed = ""
    except Exception as error:  # whatever a method does wrong (one's own, too) must not stop the others
        found, failed = {}, f"{type(error).__name__}: {error}"
    record = {
        "fingerprint": fingerprint(plan, job), "commit": commit(), "failed": failed,
        "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu,
    }  # fmt: skip
    file = job.file(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, plain(record | found))
    return failed


def _collect(plan: BenchPlan, job: Job, out: Path) -> dict[str, Any]:
    from tribid.agents.offline.collect import collect

    part, log = plan.collect, _log(out, job.market)
    if log.exists():
        shutil.rmtree(log)  # what a stopped run left, or another plan's
    seeds = range(part.first_seed, part.first_seed + part.days)
    found = collect(plan.markets[job.market].load(), part.bidders, seeds, out=log, noise=part.noise)
    return {"days": found.days, "score": found.score}


def _train(plan: BenchPlan, job: Job, out: Path) -> dict[str, Any]:
    from tribid.agents.training import train

    data = str(_log(out, job.market)) if ALGORITHMS[str(plan.methods[job.method].algorithm)].offline else ""
    training = plan.training_plan(job.market, job.method, data)
    folder = run_folder(out, job.market, job.method)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", describe(training))
    trained = train(replace(training, seed=job.seed, tensorboard=False), folder / f"seed-{job.seed}")
    if trained.interrupted:
        raise KeyboardInterrupt  # no record: what was cut short is not done
    return {"steps": trained.learning[-1]["steps"] if trained.learning else 0}


def _play(plan: BenchPlan, job: Job, out: Path) -> dict[str, Any]:
    protocol = plan.protocol(job.market)
    began = time.process_time()
    contestant = _contestant(plan, job, out, protocol)
    fitted = time.process_time() - began
    runs = [play_run(contestant, seed, day, protocol) for seed in contestant.bidders for day in protocol.eval_seeds]
    return {"kind": contestant.kind, "fit_seconds": fitted, "runs": [_row(run, protocol) for run in runs]}


def _contestant(plan: BenchPlan, job: Job, out: Path, protocol: Protocol) -> Contestant:
    method = plan.methods[job.method]
    if method.algorithm is None:
        return entrant(method.bidder or job.method, protocol)
    home = plan.markets[job.market].trained_in or job.market
    for seed in plan.train_seeds:
        failed = read_json(Job("train", home, job.method, seed).file(out)).get("failed")
        if failed:
            raise ValueError(f"training seed {seed} failed: {failed}")
    return trained_entrant(run_folder(out, home, job.method), protocol, plan.train_seeds)


def _row(run: Run, protocol: Protocol) -> dict[str, Any]:
    return {
        "train_seed": run.train_seed, "eval_seed": run.eval_seed, "sides": run.sides,
        "focal": {name: run.advertisers[name] for name in protocol.names},
    }  # fmt: skip


def _log(out: Path, market: str) -> Path:
    return out / "logs" / market / "trajectories"


_KINDS = {"collect": _collect, "train": _train, "play": _play}
