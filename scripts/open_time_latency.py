"""How long does a slot take to be picked and drawn, and what does it cost, at a steady rate of opens?

python scripts/open_time_latency.py                            # 200 opens/s for 20 s of the scenario `shop`, in this process
python scripts/open_time_latency.py --rate 400 --changes 200   # more opens, and a stock that changes more often
python scripts/open_time_latency.py --http                     # over HTTP on loopback, the server in a process of its own

Opens come at random moments (a Poisson process) whether earlier ones were answered or not, and an open's time counts from
the moment it was due: what waits is not left out. Mails have four slots, users have profiles with viewed items and orders,
and all the while items are sold, sell out, come back and change price. In this process the application is called as a
server would call it, and CPU time is the whole process's, with the generator of opens; over HTTP it is the server's alone.
"""

import argparse
import asyncio
import multiprocessing
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tribid.envs.scenario import load_scenario
from tribid.ranker.open_time.open_time import OpenTime
from tribid.ranker.open_time.pickers import PopularityBuckets, ProfilePicker
from tribid.ranker.open_time.routes import open_time_routes
from tribid.ranker.open_time.settings import OpenTimeSettings
from tribid.ranker.open_time.tokens import Signer, Slot
from tribid.ranker.profile.messages import Profile
from tribid.ranker.stock import LiveStock, scenario_stock

KEY = b"a key for measuring, and no other"
Ask = Callable[[str], Awaitable[bytes]]


def main() -> None:
    """Measure, and print one table."""
    options = arguments()
    if options.http:
        times, counts, cpu_ms = over_http(options)
    else:
        times, counts, cpu_ms = asyncio.run(in_process(options))
    table = Table("opens", "p50 ms", "p99 ms", "p99.9 ms", "most ms", "CPU ms per open", "outcomes")
    cuts = [f"{np.percentile(times, cut) * 1e3:.2f}" for cut in (50, 99, 99.9, 100)]
    table.add_row(
        str(len(times)), *cuts, f"{cpu_ms:.3f}", ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
    )
    Console().print(table)


class Known:
    """Profiles of made-up users: each viewed, put into the cart and ordered a few items."""

    def __init__(self, users: int, items: int, seed: int) -> None:
        drawn = np.random.default_rng(seed).integers(0, items, (users, 10)).tolist()
        self._profiles = [
            Profile(user=str(user), viewed=[(item, 1) for item in row[:6]], cart={row[6]: 1}, orders=[(row[7], 1)])
            for user, row in enumerate(drawn)
        ]

    async def profile(self, user: str) -> Profile | None:
        """What is known of a user."""
        return self._profiles[int(user)]


def slots_of(options: argparse.Namespace) -> OpenTime:
    """Slots of the scenario's stock, filled from profiles."""
    stock, popularity = scenario_stock(load_scenario(options.scenario), count=20)
    buckets = PopularityBuckets(stock, popularity)
    known = Known(options.users, len(stock), options.seed)
    picker = ProfilePicker(known, stock, buckets, {kind: [kind + 1] for kind in range(50)})
    settings = OpenTimeSettings(opens_per_minute=10**9, opens=10**9)
    part = OpenTime(stock, Signer([KEY]), buckets=buckets, picker=picker, settings=settings)
    part.warm(options.warm)
    return part


async def change(stock: LiveStock, rate: float, seed: int) -> None:
    """Sell, sell out, refill and reprice items, ``rate`` times a second."""
    chance = np.random.default_rng(seed)
    while rate > 0:
        await asyncio.sleep(1.0 / rate)
        item = int(chance.integers(len(stock)))
        if chance.random() < 0.1:
            stock.update(item, count=0 if stock.item(item).count else 20)
        elif not stock.take(item):
            stock.update(item, price_micros=int(stock.item(item).price_micros * chance.uniform(0.8, 1.2)) + 1)


async def opens(options: argparse.Namespace, ask: Ask) -> list[float]:
    """Seconds that each open took, from when it was due."""
    chance, signer = np.random.default_rng(options.seed), Signer([KEY])
    now_ms = time.time_ns() // 1_000_000
    times: list[float] = []

    async def one(token: str, due_s: float) -> None:
        content = await ask(token)
        assert content.startswith(b"\x89PNG")
        times.append(time.perf_counter() - due_s)

    tasks, due_s = [], time.perf_counter()
    for user in chance.integers(0, options.users, round(options.rate * options.seconds)).tolist():
        due_s += chance.exponential(1.0 / options.rate)
        slot = Slot(
            user=str(user),
            message=f"m{user % 7}",
            slot=int(chance.integers(4)),
            issued_ms=now_ms,
            expires_ms=now_ms + 10**9,
        )
        token = signer.token("open", slot)
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(one(token, due_s)))
    await asyncio.gather(*tasks)
    return times


async def in_process(options: argparse.Namespace) -> tuple[list[float], dict[str, int], float]:
    """The opens' times, how they ended, and the CPU milliseconds that each cost."""
    from starlette.applications import Starlette

    part = slots_of(options)
    app = Starlette(routes=open_time_routes(part))

    async def ask(token: str) -> bytes:
        path, content = f"/v1/slot/{token}.png", bytearray()
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": [],
            "query_string": b"",
            "http_version": "1.1",
            "root_path": "",
        }

        async def send(message: Any) -> None:
            content.extend(message.get("body", b""))

        await app(scope, _nothing, send)
        return bytes(content)

    changing = asyncio.create_task(change(part.stock, options.changes, options.seed))
    began_s = time.process_time()
    times = await opens(options, ask)
    cpu_ms = (time.process_time() - began_s) * 1e3 / len(times)
    changing.cancel()
    await part.close()
    return times, dict(part.counts), cpu_ms


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}


def over_http(options: argparse.Namespace) -> tuple[list[float], dict[str, int], float]:
    """As ``in_process``, through a server of its own process; the CPU time is the server's alone."""
    door = socket.create_server(("127.0.0.1", 0))
    here, there = multiprocessing.get_context("fork").Pipe()
    server = multiprocessing.get_context("fork").Process(target=_serve, args=(options, door, there))
    server.start()
    times = asyncio.run(_http_opens(options, door.getsockname()[1]))
    here.send("stop")
    counts, cpu_s = here.recv()
    server.join()
    return times, counts, cpu_s * 1e3 / len(times)


async def _http_opens(options: argparse.Namespace, port: int) -> list[float]:
    import aiohttp

    base = f"http://127.0.0.1:{port}/v1/slot/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def ask(token: str) -> bytes:
            async with http.get(f"{base}{token}.png") as answer:
                return await answer.read()

        await ask(Signer([KEY]).token("open", Slot(user="0", message="m", slot=0, issued_ms=0, expires_ms=2**52)))
        return await opens(options, ask)


def _serve(options: argparse.Namespace, door: socket.socket, pipe: Any) -> None:
    """The server's process: serve until told to stop, then say how slots ended and the CPU seconds since it was up."""
    import uvicorn
    from starlette.applications import Starlette

    part = slots_of(options)
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=open_time_routes(part)), log_level="error", access_log=False, lifespan="off")
    )

    async def serve() -> float:
        changing = asyncio.create_task(change(part.stock, options.changes, options.seed))
        began_s = time.process_time()

        async def stop() -> None:
            while not pipe.poll():
                await asyncio.sleep(0.05)
            server.should_exit = True

        await asyncio.gather(server.serve(sockets=[door]), stop())
        changing.cancel()
        await part.close()
        return time.process_time() - began_s

    cpu_s = asyncio.run(serve())
    pipe.send((dict(part.counts), cpu_s))


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="opens a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--changes", type=float, default=50.0, help="changes of the stock a second")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--scenario", default="shop")
    parser.add_argument("--warm", type=int, default=256, help="popular items drawn before the first open")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--http", action="store_true", help="ask over HTTP")
    return parser.parse_args()


if __name__ == "__main__":
    main()
