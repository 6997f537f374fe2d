"""The machine itself: its class in words, how fast one core reads memory, and how fast it multiplies and compares."""

import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from tribid.benchmark.clock import cpu_seconds

READ_MIB = 256
"""Twice what large last-level caches hold for one core, and more."""

_STEPS = 10_000_000


class Machine(BaseModel):
    """A machine's class: two runs on the same class may be compared by their absolute figures too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    cpu: str = Field(min_length=1)
    cores: int = Field(ge=1)
    system: str = Field(min_length=1)
    python: str = Field(min_length=1)
    numpy: str = Field(min_length=1)
    numba: str = Field(min_length=1)


def this_machine() -> Machine:
    """The class of the machine that this runs on."""
    return Machine(
        cpu=cpu_model(), cores=os.cpu_count() or 1, system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(), numpy=np.__version__, numba=numba.__version__,
    )  # fmt: skip


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as /proc/cpuinfo says it where there is one."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def unread_array() -> Any:
    """An array that no cache holds."""
    return np.ones(READ_MIB * 2**20 // 8, np.int64)


def read_seconds(data: Any, repetitions: int) -> list[float]:
    """CPU seconds in which one core reads all of ``data``."""
    return cpu_seconds(lambda: _sum(data), repetitions)


def multiply_max_rates(repetitions: int) -> list[float]:
    """Operations a second (a float64 multiplication or maximum is one) of one core, its numbers in the first cache."""
    rng = np.random.default_rng(0)
    factors, held, bids = rng.random(512), np.zeros(512), rng.random(40_000)
    operations = 2.0 * held.size * bids.size
    return [operations / taken for taken in cpu_seconds(lambda: _multiply_max(factors, bids, held), repetitions)]


def spins(threads: int) -> Callable[[], None]:
    """Two loops that share nothing at all, on one thread or on two: how far two cores are there for us."""

    def play() -> None:
        if threads == 1:
            _spin(_STEPS)
            _spin(_STEPS)
        else:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(_spin, [_STEPS] * 2))

    return play


@njit(cache=True, nogil=True)
def _spin(steps: Any) -> Any:
    x = 1.0
    for _ in range(steps):
        x = x * 0.999 + 0.1
    return x


@njit(cache=True)
def _sum(data: Any) -> Any:
    total = np.int64(0)
    for i in range(data.shape[0]):
        total += data[i]
    return total


@njit(cache=True, error_model="numpy")
def _multiply_max(factors: Any, bids: Any, held: Any) -> None:
    """``held[i] = max(held[i], factors[i] * bid)`` for four bids at a time: eight operations for three moves of a number."""
    for r in range(0, bids.shape[0] - 3, 4):
        b0, b1, b2, b3 = bids[r], bids[r + 1], bids[r + 2], bids[r + 3]
        for i in range(held.shape[0]):
            most = held[i]
            product = factors[i] * b0
            most = product if product > most else most
            product = factors[i] * b1
            most = product if product > most else most
            product = factors[i] * b2
            most = product if product > most else most
            product = factors[i] * b3
            held[i] = product if product > most else most
