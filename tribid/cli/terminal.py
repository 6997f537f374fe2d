"""What every command shows: its lines, one clear line for a mistake, and bars while it works."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tribid.agents.divergence import DivergenceError

console = Console()

_STORES = (
    ("sqlite3", "Error"),
    ("tribid.ranker.ledger.errors", "LedgerUnavailableError"),
    ("tribid.ranker.profile.errors", "ProfilesUnavailableError"),
)
"""Errors of a file or a database that the user can mend, by module: one that was never imported raised none."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """One clear line for what the user can mend; a traceback only for what is our fault."""
    try:
        yield
    except _mendable() as error:
        told = " ".join(str(error).split()) if isinstance(error, _store_errors()) else str(error)
        Console(stderr=True).print(f"[bold red]error:[/] {escape(told)}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped")
        raise typer.Exit(130) from None


def _mendable() -> tuple[type[Exception], ...]:
    return ValueError, ImportError, OSError, DivergenceError, *_store_errors()


def _store_errors() -> tuple[type[Exception], ...]:
    return tuple(getattr(sys.modules[module], name) for module, name in _STORES if module in sys.modules)


def _columns() -> tuple[Any, ...]:
    return (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told what is done and the total."""
    with Progress(*_columns(), console=console) as progress:
        task = progress.add_task(what, total=None, note="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def job_bar(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar that is told what is done, the total, and what was done last."""
    with Progress(*_columns(), console=console) as progress:
        task = progress.add_task(what, total=None, note="")
        yield lambda done, total, last: progress.update(task, completed=done, total=total, note=last)


@contextmanager
def measuring_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar that is told what is being measured; drawn only then, for a bar that draws itself would be measured too."""
    with Progress(*_columns(), console=console, auto_refresh=False) as progress:
        task = progress.add_task("measuring", total=None, note="")

        def tell(what: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, note=what, refresh=True)

        yield tell


@contextmanager
def seed_bars(seeds: list[int]) -> Iterator[Callable[[int, int, int, float | None], None]]:
    """A bar per training seed, told the seed, the steps done, the total and the latest score."""
    with Progress(*_columns(), console=console) as progress:
        tasks: dict[int, TaskID] = {seed: progress.add_task(f"seed {seed}", total=None, note="") for seed in seeds}

        def tell(seed: int, done: int, total: int, score: float | None) -> None:
            note = "imitating first" if score is None else f"score {score:.3f}"
            progress.update(tasks[seed], completed=done, total=total, note=note)

        yield tell
