"""Answer requests over HTTP: ``tribid serve``."""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tribid.cli.ledger import POSTGRES_VARIABLE, postgres_dsn
from tribid.cli.options import AnyScenario, ScenarioName, names, one_of
from tribid.cli.terminal import readable_errors
from tribid.envs.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from tribid.ranker.decision_log import DecisionLog
    from tribid.ranker.ledger.interface import Ledger
    from tribid.ranker.live import LiveRanker
    from tribid.ranker.openrtb.bidder import OpenRtbSettings
    from tribid.ranker.service.serving import ConsumersOpener
    from tribid.ranker.service.settings import Settings

COMPILING = "opening; the first start from a folder compiles for about half a minute"
_PATIENCE_S = 3.0
_MONTH_S = 30 * 86_400
_DEPTHS = ("*", "*/policies", "*/*/policies")  # a release, a run of one seed, a run of several
_FORMAT = "%(levelname)s %(name)s: %(message)s"
_log = logging.getLogger(__name__)


def serve(
    scenario: ScenarioName = "feed",
    policies: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder with policy files (runs/ppo/seed-0/policies) or a bidder's name (pid), alone or as NAME=...; "
            "the first is active, more can be activated while the server runs. [default: pid]"
        ),
    ] = None,
    policies_home: Annotated[
        Path | None, typer.Option(help="Every folder of policy files in here can be activated, too, by its name.")
    ] = None,
    others: Annotated[str, typer.Option(help="How advertisers bid that a folder has no policy for.")] = "truthful",
    any_scenario: AnyScenario = False,
    ledger: Annotated[
        str,
        typer.Option(
            help="Where the money is booked: a file (made where there is none), memory (lost at the end), or postgres "
            f"(its DSN in the environment's {POSTGRES_VARIABLE})."
        ),
    ] = "memory",
    keep_s: Annotated[
        float,
        typer.Option(help="How long the ledger knows a page after its hold, in seconds: a late event is then unknown."),
    ] = 3600.0,
    durability: Annotated[
        str, typer.Option(help="A ledger's file: full survives a power cut, normal the end of the process.")
    ] = "full",
    decision_log: Annotated[
        Path | None, typer.Option(help="Write every decision to Parquet files in this folder.")
    ] = None,
    salt_file: Annotated[
        Path | None,
        typer.Option(
            help="16 to 64 secret bytes that the decision log hashes users with, to join logs; else new ones each time."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080,
    clock: Annotated[
        str, typer.Option(help="wall: the day is today (UTC) and its tick now; request: they come with the requests.")
    ] = "wall",
    hold_s: Annotated[float, typer.Option(help="How long a page's money is held for its clicks, in seconds.")] = 600.0,
    seed: Annotated[int, typer.Option(help="Names the stand-in forecaster's errors and the tie-breaks.")] = 0,
    forecaster: Annotated[
        str,
        typer.Option(help="Runs of `tribid fit ctr` and `fit cvr`, comma-separated: their rates replace the shop's."),
    ] = "",
    retrieval: Annotated[str, typer.Option(help="A run of `tribid fit tdm`: it finds the shop's candidates.")] = "",
    creatives: Annotated[str, typer.Option(help="A run of `tribid fit creative`: it picks the creatives.")] = "",
    state: Annotated[str, typer.Option(help="A run of `tribid fit state`: it tells buying visits.")] = "",
    openrtb: Annotated[
        Path | None, typer.Option(help="YAML of what ad exchanges must know of the advertisers (docs/ranker.md).")
    ] = None,
    notice_secret_file: Annotated[
        Path | None,
        typer.Option(
            help="Secret bytes that sign OpenRTB notices; else new ones, and old notices end with the process."
        ),
    ] = None,
    consumers: Annotated[
        Path | None,
        typer.Option(
            help="YAML of what is kept of consumers: profiles, stock, mails' slots, actions (docs/consumers.md)."
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Ask every caller for the token in this file; else for TRIBID_TOKEN's, if set.")
    ] = None,
    rate_limit: Annotated[float | None, typer.Option(help="Requests a second that each client may make.")] = None,
    timeout_ms: Annotated[
        float | None, typer.Option(help="Time budget of requests that bring none; what runs short falls back.")
    ] = None,
    drain_s: Annotated[
        float, typer.Option(help="After SIGTERM: seconds in which /readyz says 503 and requests are still answered.")
    ] = 0.0,
) -> None:
    """Answer requests with learnt policies and hard budgets, over HTTP. SIGTERM or Ctrl-C ends it in good order.

    Example: `tribid serve --scenario feed --policies runs/ppo/seed-0/policies --ledger ledger.sqlite`. Then, elsewhere:
    `curl localhost:8080/v1/rank -H 'content-type: application/json' -d '{"request": 1, "user": 42}'`, and
    `localhost:8080/docs` in a browser for everything else that it answers.
    """
    with readable_errors():
        from tribid.envs.world import build_world
        from tribid.evaluation.platform.parts import load_parts, parts_of
        from tribid.ranker.service.observed import ObservedLog, TimedLedger, ledger_seconds
        from tribid.ranker.service.server import serve as run
        from tribid.ranker.service.settings import Settings, token_of

        logging.basicConfig(level=logging.WARNING, format=_FORMAT)
        _check_seconds("hold_s", hold_s, 1)
        _check_seconds("keep_s", keep_s, 0)
        one_of(clock, "wall", "request"), one_of(durability, "full", "normal")
        world = load_scenario(scenario)
        advertisers = build_world(world).advertisers.names
        settings = Settings(
            host=host,
            port=port,
            token=token_of(token_file),
            rate_per_s=rate_limit,
            timeout_ms=timeout_ms,
            drain_s=drain_s,
        )
        settings.check_open_to()

        def is_usable(name: str, folder: Path) -> bool:
            from tribid.ranker.releases import load_release

            try:
                load_release(world, name, folder, others, advertisers, any_scenario=any_scenario)
            except (ValueError, OSError) as error:
                _log.warning("--policies-home: %s is left out: %s", folder, " ".join(str(error).split()))
                return False
            return True

        releases = chosen_releases(policies or [], policies_home, is_usable)
        parts = parts_of(names(forecaster), retrieval=retrieval, creative=creatives, state=state)
        predicted, platform = load_parts(world, parts)
        exchanges = _exchanges(openrtb, notice_secret_file, hold_s, advertisers, host)
        if "://" in ledger:
            raise ValueError(
                "--ledger is a URL, which everybody on this machine can read here; allowed is a file, memory, or postgres "
                f"with the URL in the environment's {POSTGRES_VARIABLE}"
            )
        log = _opened_log(decision_log, salt_file, world)
        observed, seconds = None if log is None else ObservedLog(log), ledger_seconds()

        async def open_ranker() -> "LiveRanker":
            from tribid.ranker.live import LiveRanker

            book = TimedLedger(await _opened_ledger(ledger, durability, advertisers, round(keep_s * 1e3)), seconds)
            # The service counts a request's time from its first byte; the ranker's own timeout_ms is for bid requests.
            with _patience():
                return await LiveRanker.open(
                    world, releases, ledger=book, log=observed, others=others, any_scenario=any_scenario, seed=seed,
                    forecaster=predicted, platform=platform, clock=clock, hold_ms=round(hold_s * 1e3), timeout_ms=timeout_ms,  # type: ignore[arg-type]
                )  # fmt: skip

        try:
            run(
                open_ranker, settings, tell=_teller(settings, token_file), openrtb=exchanges,
                consumers=_consumers(consumers, world), collectors=[seconds] if observed is None else [seconds, observed],
            )  # fmt: skip
        finally:
            if log is not None:
                log.close()


@contextmanager
def _patience() -> Iterator[None]:
    """Tell who waits for long why: kernels are compiled where nothing was served from this folder before."""
    told = threading.Timer(_PATIENCE_S, typer.echo, (COMPILING,), {"err": True})
    told.daemon = True
    told.start()
    try:
        yield
    finally:
        told.cancel()


def _check_seconds(name: str, value: float, least: int) -> None:
    if not least <= value <= _MONTH_S:
        raise ValueError(f"{name} is {value:g}; allowed is {least} to {_MONTH_S} (30 days)")


def chosen_releases(
    policies: list[str], home: Path | None, is_usable: Callable[[str, Path], bool] = lambda name, folder: True
) -> dict[str, str | Path]:
    """Releases by name, from ``--policies`` and then the folders in ``--policies-home``; a bidder ``pid`` without either.

    A folder without a name of its own is called by its run: the last part of its path that is neither ``policies`` nor
    ``seed-N``; where that is taken, a folder in the home has its seed added, ``ppo-seed-1``. Of the home's folders those
    are taken that ``is_usable`` says yes to. ``ValueError`` for a folder that is not there, a name given twice, and a home
    without policies.
    """
    found: dict[str, str | Path] = {}
    for given in policies:
        name, equals, source = given.partition("=")
        if not equals:
            name, source = _name_of(Path(given)), given
        if name in found:
            raise ValueError(f"--policies names {name!r} twice; give each its own name: NAME={source}")
        if ("/" in source or os.sep in source) and not Path(source).is_dir():
            raise ValueError(f"--policies: there is no folder {source}")
        found[name] = source
    if home is not None:
        folders = sorted(card.parent for depth in _DEPTHS for card in home.glob(f"{depth}/lineup.json"))
        if not folders:
            raise ValueError(f"--policies-home {home} has no folders of policy files")
        given_folders = {Path(source).resolve() for source in found.values()}
        for folder in folders:
            name = _free_name(folder, home, found)
            if folder.resolve() not in given_folders and is_usable(name, folder):
                found[name] = folder
        if not found:
            raise ValueError(f"--policies-home {home} has no folder of policy files that can be served")
    return found or {"pid": "pid"}


def _free_name(folder: Path, home: Path, taken: Container[str]) -> str:
    """What a folder in a home is called: by its run; where others are called so, with its seed; by its whole path."""
    run, seeds = _name_of(folder), [part for part in folder.parts if part.startswith("seed-")]
    path = "-".join(part for part in folder.relative_to(home).parts if part != "policies")
    names = chain((run, f"{run}-{seeds[-1]}" if seeds else path, path), (f"{path}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def _name_of(source: Path) -> str:
    parts = [part for part in source.parts if part != "policies" and not part.startswith("seed-")]
    return parts[-1] if parts else source.name


def _opened_log(folder: Path | None, salt_file: Path | None, scenario: Scenario) -> "DecisionLog | None":
    """The decision log, or None where there is to be none; without a salt file, its users are hashed with a new secret."""
    if folder is None:
        if salt_file is not None:
            raise ValueError(f"--salt-file is {salt_file} without --decision-log; give both, or neither")
        return None
    from tribid.ranker.decision_log import DecisionLog, new_salt, read_salt

    return DecisionLog(folder, scenario=scenario, salt=new_salt() if salt_file is None else read_salt(salt_file))


async def _opened_ledger(where: str, durability: str, advertisers: Sequence[str], keep_ms: int) -> "Ledger":
    """The ledger that ``--ledger`` names; an error names its file, and nothing of a DSN."""
    if where == "memory":
        from tribid.ranker.ledger.memory import MemoryLedger

        return MemoryLedger(advertisers, keep_ms=keep_ms)
    if where == "postgres":
        from tribid.ranker.ledger.postgres import PostgresLedger

        return await PostgresLedger.open(postgres_dsn(), advertisers, keep_ms=keep_ms)
    from tribid.ranker.ledger.sqlite import SqliteLedger

    try:
        return await SqliteLedger.open(where, advertisers, durability=durability, keep_ms=keep_ms)  # type: ignore[arg-type]
    except sqlite3.Error as error:
        raise ValueError(f"--ledger {where} cannot be opened: {error}") from None


def _exchanges(
    config: Path | None, secret_file: Path | None, hold_s: float, advertisers: Sequence[str], host: str
) -> "OpenRtbSettings":
    """How ad exchanges are met; ``ValueError`` names what is wrong in the config's file, or a secret that is too short."""
    from tribid.ranker.openrtb.bidder import OpenRtbSettings
    from tribid.ranker.openrtb.config import load_config
    from tribid.ranker.service.settings import is_loopback

    told = None if config is None else load_config(config, advertisers)
    if told is not None and told.public_url is None and not is_loopback(host):
        raise ValueError(
            f"OpenRTB config {config}: public_url is missing; with host {host}, which others can reach, allowed is the URL "
            "by which exchanges and browsers do"
        )
    hold_ms = round(hold_s * 1e3)
    if secret_file is None:
        return OpenRtbSettings(config=told, hold_ms=hold_ms)
    try:
        return OpenRtbSettings(config=told, hold_ms=hold_ms, secret=secret_file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{secret_file}: {error}") from None


def _consumers(config: Path | None, scenario: Scenario) -> "ConsumersOpener | None":
    """Opens what is kept of consumers; ``ValueError`` names what is wrong in the config's file."""
    if config is None:
        return None
    from tribid.ranker.consumers.config import load_config
    from tribid.ranker.consumers.consumers import Consumers

    told = load_config(config)
    return lambda: Consumers.open(scenario, told)


def _teller(settings: "Settings", token_file: Path | None) -> Callable[[str, "LiveRanker"], None]:
    """What is printed when the ranker is ready: one line for people and scripts, one to copy."""

    def tell(address: str, live: "LiveRanker") -> None:
        told = live.policies()
        more = [release.name for release in told.releases if release.name != told.active]
        ready = f"; ready to be activated: {', '.join(more)}" if more else ""
        secret = f"$(cat {token_file})" if token_file is not None else "$TRIBID_TOKEN"
        bearer = "" if settings.token is None else f' -H "authorization: Bearer {secret}"'
        typer.echo(f"serving {live.scenario.name} at {address} with {told.active}{ready}; docs at {address}/docs")
        typer.echo(
            f"try: curl {address}/v1/rank -H 'content-type: application/json'{bearer} -d '{{\"request\": 1, \"user\": 42}}'"
        )

    return tell
