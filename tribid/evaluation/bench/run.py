"""Runs a comparison: its stages in order, the jobs of a stage side by side, and nothing twice."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tribid.evaluation.bench.jobs import Job, do_job, is_done, jobs_of
from tribid.evaluation.bench.plan import BenchPlan
from tribid.evaluation.bench.refusal import check_methods

Progress = Callable[[int, int, str], None]
"""Called with the jobs done, their number, and what was done last."""


def run_bench(
    plan: BenchPlan, out: Path, *, workers: int = 1, own: Sequence[str] = (), progress: Progress | None = None
) -> dict[str, str]:
    """Do every job that is not done yet; what failed, by job.

    ``out`` holds logs, training runs and played days; started again with it, a run goes on where it was stopped. ``own``
    are Python files with bidders of one's own. ``workers`` processes share the jobs. A plan with settings or seeds that a
    method cannot take is refused (``ValueError``) before anything runs.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; allowed is 1 or more")
    check_methods(plan)
    stages = jobs_of(plan)
    total, done, failed = sum(map(len, stages)), 0, dict[str, str]()
    tell = progress or (lambda done, total, what: None)
    for stage in stages:
        open_jobs = [job for job in stage if not is_done(plan, job, out)]
        done += len(stage) - len(open_jobs)
        tell(done, total, "found done" if len(open_jobs) < len(stage) else "")
        for job, wrong in _done(plan, open_jobs, out, workers, tuple(own)):
            done += 1
            if wrong:
                failed[_words(job)] = wrong
            tell(done, total, _words(job))
    return failed


def _done(
    plan: BenchPlan, jobs: Sequence[Job], out: Path, workers: int, own: tuple[str, ...]
) -> Iterator[tuple[Job, str]]:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, do_job(plan, job, out, own)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn")) as pool:
        pending = {pool.submit(do_job, plan, job, out, own): job for job in jobs}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _words(job: Job) -> str:
    which = f" seed {job.seed}" if job.seed >= 0 else f" {job.number}" if job.number >= 0 else ""
    return f"{job.kind} {job.market}{' ' if job.method else ''}{job.method}{which}"
