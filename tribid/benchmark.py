"""Speed on this machine: figures of one run, with the machine's own read bandwidth beside them, so that ratios carry over.

CPU seconds are this process's (user and system); every figure is the best of a few repetitions after a warm-up, for other
work on the machine can only slow a run down.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from rich.table import Table

from tribid.auctions.kernels import GSP, price_row, rank_row
from tribid.envs import feed_auction_v0, market
from tribid.envs.chance import Stream, unit4
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario, load_scenario
from tribid.evaluation.results import commit, machine

_DAY = {"ticks": 48, "requests": 532_000, "session_length": 4}


def run_benchmark(*, quick: bool = False) -> dict[str, Any]:
    """All figures: read bandwidth, the bare auction, whole days (in processes of their own), the environment's dicts."""
    scale = 10 if quick else 1
    bandwidth = read_bandwidth(256 // scale)
    bare = bare_gsp(100_000 // scale)
    days = {name: _day_in_a_process(name, scale) for name in ("feed", "feed_without_ocpc", "auctionnet")}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "tribid benchmark" + (" --quick" if quick else ""),
        "commit": commit(),
        "machine": machine(),
        "read_bandwidth_gb_per_s": bandwidth,
        "bare_gsp_impressions_per_s": bare,
        "bare_gsp_share_of_bandwidth": bare * 48 * 4 / 1e9 / bandwidth,
        "days": days,
        "parallel_env": environment_steps(200 // scale),
    }


def read_bandwidth(mebibytes: int) -> float:
    """GB/s at which one core reads an array that no cache holds."""
    data = np.ones(mebibytes * 2**20 // 8, np.int64)
    return data.nbytes / 1e9 / _best(lambda: _sum(data))


def bare_gsp(requests: int, advertisers: int = 48, slots: int = 3) -> float:
    """Impressions (requests) per CPU-second: score, rank, GSP price, click draw, hard budget charge."""
    rng = np.random.default_rng(0)
    pctr = rng.uniform(0.01, 0.1, (requests, advertisers)).astype(np.float32)
    bids = rng.integers(100_000, 2_000_000, advertisers)
    effects = np.linspace(1.0, 0.5, slots)
    # Budgets that last: an advertiser that has run out would make the loop shorter.
    left = np.full(advertisers, 2**50, np.int64)
    return requests / _best(lambda: _bare(bids, pctr, effects, left.copy()))


def environment_steps(steps: int) -> dict[str, float]:
    """PettingZoo steps per CPU-second at 48 agents, with almost no traffic: what the dict API itself costs."""
    traffic = {"ticks": 48, "requests": 480, "session_length": 1}
    scenario = load_scenario("feed").with_changes(generated__count=48, world__traffic=traffic)
    env = feed_auction_v0.parallel_env(scenario=scenario)

    def play() -> None:
        env.reset(seed=0)
        for step in range(steps):
            if not env.agents:
                env.reset(seed=step)
            env.step(dict.fromkeys(env.agents, zero))

    zero = np.zeros(env.action_space(env.possible_agents[0]).shape or (), np.float32)
    seconds = _best(play)
    return {"agents": 48, "steps_per_s": steps / seconds, "agent_steps_per_s": 48 * steps / seconds}


def whole_day(name: str, scale: int = 1) -> dict[str, float]:
    """A day of 48 advertisers, 48 ticks and 500,000 requests with everything: CPU seconds and this process's peak memory."""
    scenario, seconds, served = _day_scenario(name, scale), [], 0.0
    for repetition in range(4):
        started = time.process_time()
        state = market.reset(scenario, repetition)
        while not state.done:
            observe(state)
            state, _ = market.step(state, np.full(len(state.advertisers), 0.7))
        seconds.append(time.process_time() - started)
        served = float(state.total.counts.served[0])
    best = min(seconds[1:])
    return {"requests": served, "cpu_seconds": best, "requests_per_cpu_s": served / best, "peak_mib": _peak_mib()}


def show(figures: dict[str, Any]) -> Table:
    """The figures as a table for the terminal."""
    table = Table(title=f"{figures['machine']}, commit {figures['commit']}", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("one core reads memory at", f"{figures['read_bandwidth_gb_per_s']:.1f} GB/s")
    table.add_row(
        "bare GSP, 48 bidders, 3 slots, with charging",
        f"{figures['bare_gsp_impressions_per_s'] / 1e6:.2f} M impressions/s",
    )
    table.add_row("  of the read bandwidth", f"{figures['bare_gsp_share_of_bandwidth']:.1%}")
    for name, day in figures["days"].items():
        table.add_row(
            f"day {name}: {day['requests']:,.0f} requests x 48",
            f"{day['cpu_seconds']:.2f} CPU-s, {day['peak_mib']:.0f} MiB",
        )
    env = figures["parallel_env"]
    table.add_row("PettingZoo parallel API, 48 agents", f"{env['agent_steps_per_s']:,.0f} agent-steps/s")
    return table


def _day_scenario(name: str, scale: int) -> Scenario:
    requests = _DAY["requests"] // scale
    if name == "auctionnet":
        return load_scenario(name).with_changes(world__traffic__requests=requests)
    changes: dict[str, Any] = {"generated__count": 48, "world__traffic": _DAY | {"requests": requests}}
    if name == "feed_without_ocpc":
        changes["rules__ocpc__strategy"] = "off"
    return load_scenario("feed").with_changes(**changes)


def _peak_mib() -> float:
    """Peak resident memory of this process. Where /proc tells, from there: getrusage carries the parent's over an exec."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _day_in_a_process(name: str, scale: int) -> dict[str, float]:
    """Peak memory is a process's own, so each day is measured in a fresh one."""
    code = f"import json; from tribid.benchmark import whole_day; print(json.dumps(whole_day({name!r}, {scale})))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(answer.stdout.strip().splitlines()[-1])
    return figures


def _best(work: Callable[[], Any], repetitions: int = 7) -> float:
    work()
    seconds = []
    for _ in range(repetitions):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return max(min(seconds), 1e-9)


@njit(cache=True)
def _sum(data: Any) -> Any:
    total = np.int64(0)
    for i in range(data.shape[0]):
        total += data[i]
    return total


@njit(cache=True, error_model="numpy")
def _bare(budgeted: Any, pctr: Any, effects: Any, left: Any) -> Any:
    n, slots = pctr.shape[1], effects.shape[0]
    bids, weight, score = np.empty(n, np.int64), np.empty(n), np.empty(n)
    top, top_score, price = np.empty(slots + 1, np.int64), np.empty(slots + 1), np.empty(slots, np.int64)
    none, revenue = np.empty(0), np.int64(0)
    for b in range(pctr.shape[0]):
        for i in range(n):
            bids[i] = min(budgeted[i], left[i])
            weight[i] = np.float64(pctr[b, i])
        rank_row(bids, weight, 0, none, score, top, top_score)
        price_row(GSP, bids, weight, effects, 0, top, top_score, price)
        for k in range(slots):
            i = top[k]
            if i >= 0 and unit4(np.uint64(0), Stream.OUTCOME, 0, b, i)[0] < effects[k] * weight[i]:
                left[i] -= price[k]
                revenue += price[k]
    return revenue
