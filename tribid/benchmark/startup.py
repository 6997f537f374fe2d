"""From a fresh process to the first result: ``import tribid``, and the first tick with kernels from numba's cache."""

from collections.abc import Iterator

from tribid.benchmark import fresh
from tribid.benchmark.figure import Figure, duration, plain

_IMPORT = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import tribid
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"wall": wall, "cpu": cpu, "torch": "torch" in sys.modules}))
"""

_FIRST_TICK = """
import json, time
import numpy as np
from tribid.envs import market
from tribid.envs.scenario import load_scenario
scenario = load_scenario("feed")
wall = time.perf_counter()
state = market.reset(scenario, 0)
opened = time.perf_counter()
market.step(state, np.ones(len(state.advertisers)))
print(json.dumps({"wall": time.perf_counter() - opened, "opened": opened - wall}))
"""


def startup_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``import_seconds``, ``import_torch`` (1 if torch came with it), ``first_step_seconds`` and ``first_day_seconds``."""
    fresh.run(_IMPORT)
    found = [fresh.run(_IMPORT) for _ in range(repetitions)]
    yield duration(
        "import_seconds", "import tribid", [one["wall"] for one in found], group="startup", clock="wall",
        note="fresh processes, wall clock, files in the system's cache",
    )  # fmt: skip
    yield plain(
        "import_torch", "  torch imported with it (1: yes)", "-", [float(any(one["torch"] for one in found))],
        better="lower", group="startup",
    )  # fmt: skip
    fresh.run(_FIRST_TICK)
    found = [fresh.run(_FIRST_TICK) for _ in range(repetitions)]
    yield duration(
        "first_step_seconds", "first tick, kernels from the cache", [one["wall"] for one in found], group="startup",
        clock="wall", note="first market.step of a fresh process, feed",
    )  # fmt: skip
    yield duration(
        "first_day_seconds", "  opening the day before it", [one["opened"] for one in found], group="startup",
        clock="wall", note="first market.reset: kernels from the cache, users and advertisers drawn",
    )  # fmt: skip
