"""``ServedRanker``: a real server process with a ranker in it, for measuring, for killing, and for starting again.

Run as a module it is the process: ``python -m tribid.benchmark.served SETUP``, where ``SETUP`` is a ``Setup`` as JSON. It
is the server of ``tribid serve``, whose door, limits and clock it has; only the scenario may be changed field by field
here, and learnt parts are named by their folders.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from tribid.envs.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from tribid.ranker.consumers.consumers import Consumers
    from tribid.ranker.ledger.interface import Ledger
    from tribid.ranker.live import LiveRanker

_READY_S = 120.0
"""How long a process may take to be ready: imports, kernels and a journal to replay."""


class Setup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process serves.

    ``changes`` are made to the scenario, as by ``Scenario.with_changes``. ``policies`` are release names with their
    folders or bidders. ``ledger`` is a file of SQLite's, "" a ledger in memory. ``rates``, ``retrieval``, ``creative`` and
    ``state`` are folders of learnt parts, as for ``tribid simulate``. ``threads`` bounds those of numerical libraries.
    """

    scenario: str = "feed"
    changes: dict[str, Any] = {}
    policies: dict[str, str] = msgspec.field(default_factory=lambda: {"pid": "pid"})
    ledger: str = ""
    durability: str = "full"
    rates: tuple[str, ...] = ()
    retrieval: str = ""
    creative: str = ""
    state: str = ""
    hold_ms: int = 600_000
    consumers: dict[str, Any] | None = None
    """A ``ConsumersConfig`` as plain values; None keeps nothing of consumers."""
    threads: int = 1
    profile: str = ""
    """A file for the event loop's profile (cProfile), written when the process ends as asked; "" measures nothing."""

    def load(self) -> Scenario:
        """The scenario as it is served."""
        return load_scenario(self.scenario).with_changes(**self.changes)


class ServedRanker:
    """A process that serves a ``Setup`` on a free port of this machine; ``url`` is where. Used in a ``with`` block."""

    def __init__(self, setup: Setup) -> None:
        """Start it and wait until it is ready; ``RuntimeError`` with its last words where it ends instead."""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by kill
        threads = {name: str(setup.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tribid.benchmark.served", msgspec.json.encode(setup).decode()],
            stdout=subprocess.PIPE, stderr=self._errors, stdin=subprocess.DEVNULL, env=os.environ | threads,
        )  # fmt: skip
        try:
            self.url = self._said_url()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> "ServedRanker":
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL: the process has no chance to write anything. Does nothing to one that has ended."""
        self.process.kill()
        self._gone()

    def stop(self) -> int:
        """SIGTERM: the process answers what it has, closes its ledger and ends; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_READY_S)
        finally:
            self.kill()
        return status

    def cpu_seconds(self) -> float:
        """CPU seconds, user's and system's, that the process has used; NaN where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _said_url(self) -> str:
        assert self.process.stdout is not None
        watch = threading.Timer(_READY_S, self.process.kill)
        watch.start()
        line = self.process.stdout.readline().decode().strip()
        watch.cancel()
        if not line.startswith("http://"):
            self.process.kill()
            self.process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"the server did not start: {self._errors.read().decode(errors='replace')[-2000:]}")
        return line

    def _gone(self) -> None:
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()


async def open_ranker(setup: Setup) -> "LiveRanker":
    """The ranker that a process serves."""
    from tribid.evaluation.platform.parts import load_parts, parts_of
    from tribid.ranker.live import LiveRanker

    scenario = setup.load()
    parts = parts_of(setup.rates, retrieval=setup.retrieval, creative=setup.creative, state=setup.state)
    forecaster, platform = load_parts(scenario, parts)
    return await LiveRanker.open(
        scenario, setup.policies, ledger=await open_ledger(setup, scenario), hold_ms=setup.hold_ms, forecaster=forecaster,
        platform=platform,
    )  # fmt: skip


async def open_ledger(setup: Setup, scenario: Scenario) -> "Ledger":
    """SQLite's in the setup's file, or one in memory."""
    from tribid.envs.world import build_world
    from tribid.ranker.ledger.memory import MemoryLedger
    from tribid.ranker.ledger.sqlite import SqliteLedger

    names = build_world(scenario).advertisers.names
    if not setup.ledger:
        return MemoryLedger(names)
    return await SqliteLedger.open(setup.ledger, names, durability=setup.durability)  # type: ignore[arg-type]


def main(content: str) -> None:
    """Serve until told to stop; the first line of the output is the URL, once it is ready."""
    from tribid.ranker.service.server import serve
    from tribid.ranker.service.settings import Settings

    setup = msgspec.json.decode(content, type=Setup)

    async def opener() -> "LiveRanker":
        return await open_ranker(setup)

    async def open_consumers() -> "Consumers":
        from tribid.ranker.consumers.config import ConsumersConfig
        from tribid.ranker.consumers.consumers import Consumers

        return await Consumers.open(setup.load(), ConsumersConfig.model_validate(setup.consumers))

    def work() -> None:
        kept = None if setup.consumers is None else open_consumers
        serve(opener, Settings(port=0), consumers=kept, tell=lambda url, live: print(url, flush=True))

    _profiled(work, setup.profile) if setup.profile else work()


def _profiled(work: Callable[[], None], file: str) -> None:
    import cProfile

    profile = cProfile.Profile()
    try:
        profile.runcall(work)
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    main(sys.argv[1])
