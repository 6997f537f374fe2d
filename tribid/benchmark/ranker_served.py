"""A server process under load from another process on the same machine: plain, with learnt parts, and while policies change.

The functions that measure are called in a process of their own, which generates the load; the server is its child.
"""

import json
import secrets
import tempfile
import threading
import time
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tribid.benchmark.loadtest.asks import AskPages, AskProfiles, Asks, AskSlots
from tribid.benchmark.loadtest.generator import run_load
from tribid.benchmark.loadtest.load import Load
from tribid.benchmark.loadtest.pages import pages_of
from tribid.benchmark.loadtest.report import as_json, report_of
from tribid.benchmark.ranker_calls import PLENTY, market
from tribid.benchmark.ranker_parts import fit_parts, made_policies
from tribid.benchmark.served import ServedRanker, Setup
from tribid.envs.scenario import Scenario
from tribid.envs.worlds import ShopWorld
from tribid.ranker.open_time.tokens import Signer, read_keys

SWAP_EVERY_S = 0.5
_EVENTS = 8
"""What a visit did before its page, where a state model reads it."""

_OUTSIDE = 2**31
"""A page that no load reaches."""

_COMPILING_S = 600.0


class Swaps(NamedTuple):
    """How often another policy was made the active one, and how often that failed."""

    made: int
    failed: int


def measured_plain(rate: float, seconds: float, candidates: int, rounds: int) -> dict[str, Any]:
    """Reports of loads on a server with a SQLite ledger and two learnt policies: ``steady``, and ``swapped`` all the time.

    They take turns, ``rounds`` times; ``swaps`` are those of each swapped one.
    """
    with tempfile.TemporaryDirectory() as folder:
        changes = market(candidates)
        scenario = Setup(changes=changes).load()
        policies = {name: made_policies(str(Path(folder) / name), scenario, seed) for seed, name in enumerate("ab")}
        setup = Setup(changes=changes, policies=policies, ledger=str(Path(folder) / "ledger.sqlite"))
        found: dict[str, Any] = {"steady": [], "swapped": [], "swaps": []}
        with ServedRanker(setup) as server:
            for turn in range(rounds):
                load = partial(loaded, server, scenario, rate=rate, seconds=seconds, candidates=candidates, seed=turn)
                found["steady"].append(load())
                with Swapper(server.url, tuple(policies)) as swapper:
                    found["swapped"].append(load())
                found["swaps"].append(swapper.swaps)
        return found


def measured_learnt(rate: float, seconds: float) -> dict[str, Any]:
    """The report of a load on the shop, where TDM retrieves, a state model and a picker of creatives look at each page,

    DIN and ESMM predict, and a learnt policy bids: pages bring their user and what the visit did, nothing else.
    """
    with tempfile.TemporaryDirectory() as folder:
        changes = {"generated__budget_share": PLENTY}
        scenario = Setup(scenario="shop", changes=changes).load()
        parts = fit_parts(str(Path(folder) / "parts"))
        setup = Setup(
            scenario="shop", changes=changes, policies={"learnt": made_policies(str(Path(folder) / "policies"), scenario)},
            ledger=str(Path(folder) / "ledger.sqlite"), **parts,
        )  # fmt: skip
        with ServedRanker(setup) as server:
            report = loaded(server, scenario, rate=rate, seconds=seconds, candidates=0, events=_EVENTS)
        return report


def measured_consumers(slots_rate: float, events_rate: float, seconds: float) -> dict[str, Any]:
    """Reports of loads on a journey's server that keeps profiles in a folder: ``profiles`` and ``slots``.

    The first are events, each followed by the profile that has to hold it; the second, pictures of mails' slots, which
    show what those profiles say.
    """
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "slots.key"
        key.write_text(secrets.token_hex(32))
        kept = {"profiles": f"{folder}/profiles", "slots": {"key_file": str(key), "choices": f"{folder}/choices"}}
        setup = Setup(scenario="journey", consumers=kept, ledger=str(Path(folder) / "ledger.sqlite"))
        world = setup.load().world
        assert isinstance(world, ShopWorld)
        with ServedRanker(setup) as server:
            load = Load(url=server.url, rate=events_rate, seconds=seconds, warmup=min(2.0, seconds / 2))
            found = {
                "profiles": _of_load(
                    server, load, AskProfiles(load, users=world.users.count, items=world.catalogue.items)
                )
            }
            load = replace(load, rate=slots_rate)
            signer, now_ms = Signer(read_keys(key)), time.time_ns() // 1_000_000
            found["slots"] = _of_load(server, load, AskSlots(load, signer, users=world.users.count, now_ms=now_ms))
        return found


def loaded(
    server: ServedRanker, scenario: Scenario, *, rate: float, seconds: float, candidates: int, events: int = 0, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """A load's report as plain values; ``server_cpu_ms`` is what the server used for a request."""
    load = Load(url=server.url, rate=rate, seconds=seconds, warmup=min(2.0, seconds / 2), seed=seed)
    pages = pages_of(scenario, load, candidates=candidates, events=events)
    _post(f"{server.url}/v1/rank", pages.one(_OUTSIDE), _COMPILING_S)  # the first page may wait for kernels
    return _of_load(server, load, AskPages(load, pages))


def _of_load(server: ServedRanker, load: Load, asks: Asks) -> dict[str, Any]:
    """A load's report as plain values, with what the server used for a request."""
    before = server.cpu_seconds()
    result = run_load(load, asks)
    used = server.cpu_seconds() - before
    report: dict[str, Any] = as_json(report_of(result))
    return report | {"server_cpu_ms": 1e3 * used / max(1.0, load.rate * (load.warmup + load.seconds))}


class Swapper(threading.Thread):
    """Makes one policy after another the active one, every ``SWAP_EVERY_S``, while a ``with`` block lasts."""

    def __init__(self, url: str, names: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._url, self._names = url, names
        self._over = threading.Event()
        self.swaps = Swaps(0, 0)

    def __enter__(self) -> "Swapper":
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Swap until told to stop."""
        while not self._over.wait(SWAP_EVERY_S):
            wanted = self._names[(self.swaps.made + self.swaps.failed + 1) % len(self._names)]
            if self._activate(wanted):
                self.swaps = self.swaps._replace(made=self.swaps.made + 1)
            else:
                self.swaps = self.swaps._replace(failed=self.swaps.failed + 1)

    def _activate(self, name: str) -> bool:
        """Whether the server says that this policy is the active one now."""
        try:
            return bool(_post(f"{self._url}/v1/policies/{name}:activate", b"{}", 10.0)["active"] == name)
        except OSError:
            return False


def _post(url: str, body: bytes, timeout_s: float) -> Any:
    """What a server answers, decoded; ``OSError`` where it refuses or is not there."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        return json.loads(response.read())
