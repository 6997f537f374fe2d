"""Speed of the market on this machine's GPU: ``python -m tribid.gpu.bench --json FILE``.

Before anything is timed, whole small days and bare auctions are compared with the host's. Bandwidth and bare auctions are
timed by CUDA events, medians of at least seven repetitions after warm-ups; the market's ticks by the host's clock around a
tick and its synchronisation, medians of at least three ticks after one. Bandwidth counts bytes read and written by a
device-to-device copy; an auction's share of it counts the predictions alone that it reads. Without CUDA small sizes run on
the CPU, by the host's clock, and the figures say so.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tribid.envs import market
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario
from tribid.gpu.markets import DeviceMarkets

ADVERTISERS, SLOTS = 48, 3
REPETITIONS = 9
SHAPES = ((1, 1), (4, 1), (8, 1), (8, 2), (16, 2), (16, 4), (32, 4))
"""Requests that a program decides at once, and its warps: the benchmark takes the fastest."""


def run(device: torch.device, *, quick: bool = False) -> dict[str, Any]:
    """All figures of one device; raises ``AssertionError`` where its results are not the host's."""
    cuda = device.type == "cuda"
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if cuda else f"CPU ({platform.machine()}), no CUDA: small sizes",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if cuda:
        import triton

        figures["triton"] = triton.__version__
    engines = ("triton", "eager") if cuda else ("eager",)
    for engine in engines:
        check_markets(device, engine)
    figures["checked"] = (
        "2 small days against tribid.envs.market, money and wins before the last tick and scores after it, "
        f"engines {', '.join(engines)}"
    )
    figures["clock"] = (
        f"{'CUDA events' if cuda else 'host clock'} for bandwidth and bare auctions, host clock for markets"
    )
    figures["copy_gb_per_s"] = copy_bandwidth(device, 2**24 if quick or not cuda else 2**30)
    if cuda:
        check_bare(device)
        figures["checked"] += "; 120 bare auctions against tribid.auctions.gsp"
        figures["bare"] = bare(device, figures["copy_gb_per_s"], quick=quick)
    sizes = ((256, 2048) if quick else (256, 1024, 4096, 16384)) if cuda else (2, 8)
    figures["markets"] = [
        market_ticks(device, name, engine, size, ticks=3 if quick or not cuda else 12)
        for name in ("feed", "feed_without_ocpc")
        for engine in engines
        for size in sizes
        if engine == "triton" or size <= 4096
    ]
    return figures


def check_markets(device: torch.device, engine: str) -> None:
    """Play two small days in step with the host's market to their end: money and wins agree before it, scores there."""
    changes: dict[str, Any] = {"world__traffic__ticks": 6, "world__traffic__requests": 900, "generated__count": 9}
    scenario = load_scenario("feed").with_changes(**changes)
    markets = DeviceMarkets(scenario, 2, device=device, seed=5, engine=engine)
    markets.reset()
    hosts = [market.reset(scenario, 5 + m) for m in range(2)]
    rng = np.random.default_rng(0)
    for _ in range(markets.n_ticks):
        multipliers = np.exp(rng.normal(0.0, 0.5, (2, len(markets.advertisers), markets.n_segments)))
        step = markets.step(torch.as_tensor(multipliers, device=device))
        hosts = [market.step(host, multipliers[m])[0] for m, host in enumerate(hosts)]
        if step.done:
            assert markets.terminal_score is not None
            exponent = scenario.reward.penalty_exponent
            final = [score(host.advertisers, host.total, exponent) for host in hosts]
            np.testing.assert_allclose(markets.terminal_score.cpu().numpy(), final, rtol=1e-9)
            break
        left, wins = markets.state.left_micros.cpu().numpy(), markets.state.total.counts.wins.cpu().numpy()
        np.testing.assert_array_equal(left, np.stack([host.left_micros for host in hosts]))
        np.testing.assert_array_equal(wins, np.stack([host.total.counts.wins for host in hosts]))


def check_bare(device: torch.device) -> None:
    """Bare auctions with budgets that run out, in every shape, against the host's gsp."""
    from tribid.gpu.bare import bare_reference, settle_bare

    pctr, bids, effects = _bare_inputs(device, 2, 60)
    left = torch.randint(0, 6_000_000, (2, ADVERTISERS), device=device)
    wanted, revenue = left.clone(), torch.zeros(2, dtype=torch.int64, device=device)
    bare_reference(pctr, bids, effects, wanted, revenue)
    for rows, warps in SHAPES:
        found, received = left.clone(), torch.zeros_like(revenue)
        settle_bare(pctr, bids, effects, found, received, rows=rows, warps=warps)
        assert torch.equal(found, wanted) and torch.equal(received, revenue), (rows, warps)


def bare(device: torch.device, copy_gb_per_s: float, *, quick: bool = False) -> dict[str, Any]:
    """Bare auctions a second, 48 bidders and 3 slots, for 1k to 16k markets in the fastest shape."""
    from tribid.gpu.bare import settle_bare

    requests = 64 if quick else 256

    def speed(markets: int, rows: int, warps: int) -> float:
        pctr, bids, effects = _bare_inputs(device, markets, requests)
        # Budgets that last: an advertiser that has run out would make the work less.
        left = torch.full((markets, ADVERTISERS), 2**50, device=device)
        revenue = torch.zeros(markets, dtype=torch.int64, device=device)
        work = lambda: settle_bare(pctr, bids, effects, left, revenue, rows=rows, warps=warps)  # noqa: E731
        return markets * requests / seconds(device, work)

    by_shape = {f"{rows} rows, {warps} warps": speed(8192, rows, warps) for rows, warps in SHAPES}
    rows, warps = SHAPES[max(range(len(SHAPES)), key=list(by_shape.values()).__getitem__)]
    by_markets = {markets: speed(markets, rows, warps) for markets in (1024, 2048, 4096, 8192, 16384)}
    best = max(by_markets.values())
    return {
        "requests_per_market": requests,
        "impressions_per_s_by_shape_at_8192_markets": by_shape,
        "shape": {"rows": rows, "warps": warps},
        "impressions_per_s_by_markets": by_markets,
        "best_share_of_copy_bandwidth": best * ADVERTISERS * 4 / 1e9 / copy_gb_per_s,
    }


def copy_bandwidth(device: torch.device, size: int) -> float:
    """GB/s, bytes read and written, of a copy of ``size`` bytes on the device."""
    source = torch.empty(size // 4, dtype=torch.int32, device=device).fill_(1)
    target = torch.empty_like(source)
    return 2 * size / 1e9 / seconds(device, lambda: target.copy_(source))


def market_ticks(device: torch.device, name: str, engine: str, markets: int, *, ticks: int) -> dict[str, Any]:
    """Whole ticks of the feed market, observations and rewards included: medians over the day's first ticks."""
    scenario = load_scenario("feed")
    if name == "feed_without_ocpc":
        scenario = scenario.with_changes(rules__ocpc__strategy="off")
    began = time.perf_counter()
    played = DeviceMarkets(scenario, markets, device=device, engine=engine)
    played.reset()
    opening = time.perf_counter() - began
    multipliers = torch.ones_like(played.state.multipliers)
    played.step(multipliers)
    taken = []
    for _ in range(max(ticks, 3)):
        _wait(device)
        began = time.perf_counter()
        played.step(multipliers)
        _wait(device)
        taken.append(time.perf_counter() - began)
    tick = statistics.median(taken)
    a_tick = float(np.mean(played._plan.host_counts[:, 1 : 1 + len(taken)]))
    return {
        "scenario": name, "engine": engine, "markets": markets, "advertisers": len(played.advertisers),
        "seconds_to_open_a_day": opening, "seconds_per_tick": tick, "market_ticks_per_s": markets / tick,
        "requests_per_s": markets * a_tick / tick,
    }  # fmt: skip


def seconds(device: torch.device, work: Callable[[], object], repetitions: int = REPETITIONS) -> float:
    """The median time of ``work``: by CUDA events on a GPU, by the clock elsewhere."""
    for _ in range(3):
        work()
    taken: list[float] = []
    for _ in range(max(repetitions, 7)):
        if device.type == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            work()
            stop.record()
            stop.synchronize()
            taken.append(start.elapsed_time(stop) / 1e3)
        else:
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return max(statistics.median(taken), 1e-9)


def _bare_inputs(device: torch.device, markets: int, requests: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    pctr = torch.empty((markets, requests, ADVERTISERS), device=device).uniform_(0.01, 0.1)
    bids = torch.randint(100_000, 2_000_000, (ADVERTISERS,), device=device)
    return pctr, bids, torch.linspace(1.0, 0.5, SLOTS, dtype=torch.float64, device=device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--quick", action="store_true", help="small sizes: a trial, not figures to report")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    figures = json.dumps(run(torch.device(given.device), quick=given.quick), indent=1)
    print(figures)
    if given.json:
        given.json.write_text(figures + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
