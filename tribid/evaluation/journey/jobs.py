"""The work of the journey's table, cut into jobs that leave a file each, so that a run that was stopped goes on.

A job is a seed of a variant of the journey, or a seed of another world with all its variants. A job whose file is there,
made from the same plan, is not done again.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.journey.config import JourneyWorld
from tribid.envs.scenario import Scenario
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.journey.measures import NAMES
from tribid.evaluation.journey.played import play_run
from tribid.evaluation.journey.variants import ROWS, Counts, JourneyVariant, Row, variant
from tribid.evaluation.journey.worlds import WORLD_ROWS, WORLDS
from tribid.evaluation.platform.worth import Days
from tribid.evaluation.results import commit, plain
from tribid.files import read_json, write_json

Progress = Callable[[int, int, str], None]
"""Called with the jobs done, their number, and what was done last."""

JOURNEY = "journey"
ALL_WORLDS = (JOURNEY, *WORLDS)
_VERSION = 1
"""Of what a record says; records of another are made again."""


@dataclass(frozen=True, kw_only=True)
class JourneyPlan:
    """What is played: ``seeds`` held-out seeds and ``days`` on end of each, in ``worlds``; ``ValueError`` for bad ones."""

    scenario: Scenario
    days: int = 2
    seeds: int = 20
    worlds: tuple[str, ...] = ALL_WORLDS
    bidders: tuple[str, ...] = ("truthful",)
    rows: tuple[Row, ...] = field(default=(*ROWS, *WORLD_ROWS))

    def __post_init__(self) -> None:
        if not isinstance(self.scenario.world, JourneyWorld):
            kind = self.scenario.world.kind
            raise ValueError(f"scenario {self.scenario.name} is of kind {kind}; allowed is a journey")
        if self.days < 1 or self.seeds < 2:
            raise ValueError(f"days is {self.days}, seeds {self.seeds}; allowed are 1 or more, and 2 or more")
        unknown = [name for name in self.worlds if name not in ALL_WORLDS]
        if unknown or not self.worlds:
            raise ValueError(f"no world named {(unknown or [''])[0]!r}; choose of {', '.join(ALL_WORLDS)}")

    @property
    def chosen(self) -> tuple[Row, ...]:
        """The rows of the worlds."""
        return tuple(row for row in self.rows if row.world in self.worlds)


class Job(NamedTuple):
    """A seed of a variant of the journey, or of another world (``variant`` is then empty)."""

    world: str
    variant: str
    seed: int

    def file(self, out: Path) -> Path:
        """Where its record is."""
        part = re.sub(r"[^a-z0-9]+", "-", self.variant.lower()) or "all"
        return out / self.world / part / f"{self.seed}.json"


def variants_of(plan: JourneyPlan) -> list[JourneyVariant]:
    """The variants that the chosen rows need, those whose messages are matched before those that match them."""
    names: list[str] = []
    for row in plan.chosen:
        for name in (row.base, row.switched) if row.world == JOURNEY else ():
            names += [like for like in (variant(name).like,) if like]
            names.append(name)
    return [variant(name) for name in dict.fromkeys(names)]


def jobs_of(plan: JourneyPlan) -> list[Job]:
    """All jobs, in the order in which they are done."""
    days = [
        Job(JOURNEY, one.name, HELD_OUT + seed)
        for one in (variants_of(plan) if JOURNEY in plan.worlds else ())
        for seed in range(plan.seeds)
    ]
    return days + [
        Job(world, "", seed) for world in plan.worlds if world != JOURNEY for seed in range(plan.seeds)
    ]  # fmt: skip


def run_jobs(plan: JourneyPlan, out: Path, progress: Progress | None = None) -> None:
    """Do every job that is not done yet; ``out`` keeps the records."""
    jobs, tell = jobs_of(plan), progress or (lambda done, total, what: None)
    for done, job in enumerate(jobs):
        what = f"{job.world} {job.variant}".strip()
        tell(done, len(jobs), what)
        if not is_done(plan, job, out):
            do_job(plan, job, out)
        tell(done + 1, len(jobs), what)


def is_done(plan: JourneyPlan, job: Job, out: Path) -> bool:
    """Whether its record is there and was made from this plan."""
    file = job.file(out)
    return file.is_file() and read_json(file).get("fingerprint") == fingerprint(plan, job)


def fingerprint(plan: JourneyPlan, job: Job) -> str:
    """Names everything of the plan that the job's outcome depends on."""
    told: dict[str, Any] = {"version": _VERSION, "job": job._asdict(), "measures": NAMES}
    if job.world == JOURNEY:
        own = variant(job.variant)
        told |= {"scenario": plan.scenario.hash, "days": plan.days, "bidders": plan.bidders, "variant": asdict(own)}
        told["like"] = asdict(variant(own.like)) if own.like else None
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=list).encode()).hexdigest()[:16]


def do_job(plan: JourneyPlan, job: Job, out: Path) -> None:
    """Do it and write its record."""
    cpu = time.process_time()
    if job.world == JOURNEY:
        own = variant(job.variant)
        counts = _counts(plan, job._replace(variant=own.like), out) if own.like else None
        played = play_run(plan.scenario, own, job.seed, plan.days, bidders=plan.bidders, counts=counts)
        found: dict[str, Any] = {"numbers": {own.name: {"": played.all_pages, "after": played.after}}}
        found["sent"] = played.sent.tolist()
    else:
        found = {"numbers": {name: {"": row} for name, row in WORLDS[job.world](job.seed).items()}}
    spent = time.process_time() - cpu
    record = {"fingerprint": fingerprint(plan, job), "commit": commit(), "cpu_seconds": spent}
    file = job.file(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, plain(record | found))


def record_of(plan: JourneyPlan, job: Job, out: Path) -> dict[str, Any]:
    """The record of a job; ``ValueError`` where it has not been done, or was done for another plan."""
    if not is_done(plan, job, out):
        raise ValueError(f"{job.file(out)} is not there or was made for another plan; run the comparison again")
    record: dict[str, Any] = read_json(job.file(out))
    return record


def records_of(plan: JourneyPlan, out: Path) -> Iterator[dict[str, Any]]:
    """All records."""
    return (record_of(plan, job, out) for job in jobs_of(plan))


def days_of(plan: JourneyPlan, row: Row, name: str, out: Path) -> Days:
    """The numbers [seeds, measures] of one of a row's variants; NaN where there is no number."""
    first = HELD_OUT if row.world == JOURNEY else 0
    jobs = [Job(row.world, name if row.world == JOURNEY else "", first + seed) for seed in range(plan.seeds)]
    rows = [record_of(plan, job, out)["numbers"][name][row.pages] for job in jobs]
    table: NDArray[np.float64] = np.array(rows, np.float64)
    return Days(name=name, table=table)


def _counts(plan: JourneyPlan, job: Job, out: Path) -> Counts:
    return np.array(record_of(plan, job, out)["sent"], np.int64)
