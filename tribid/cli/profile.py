"""Look after what is known of consumers: ``tribid profile export``, ``erase`` and ``check``."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from tribid.cli.terminal import console, readable_errors

if TYPE_CHECKING:
    from tribid.ranker.profile.interface import ProfileStore

REDIS_VARIABLE = "TRIBID_REDIS"
"""Of the environment: the URL of profiles in Redis, which no list of processes shows there."""

TOKEN_VARIABLE = "TRIBID_TOKEN"
"""Of the environment: the token that a server asks for."""

profile_app = typer.Typer(
    no_args_is_help=True, help="What `tribid serve` knows of each consumer: show all of it, erase it, check the store."
)

User = Annotated[str, typer.Argument(help="The user's id, as events name them.")]
StoreName = Annotated[
    str | None,
    typer.Option(
        "--store", help="The store's folder, which no server may have open meanwhile, or redis: its URL is then in the "
        f"environment's {REDIS_VARIABLE}. A URL (redis://host:6379/0, unix:///path) is taken, too.",
    ),
]  # fmt: skip
Server = Annotated[
    str | None,
    typer.Option(
        "--server", help="Ask a running `tribid serve` at this address, such as http://127.0.0.1:8080, instead.",
    ),
]  # fmt: skip
TokenFile = Annotated[Path | None, typer.Option(help=f"Holds the server's bearer token (or set {TOKEN_VARIABLE}).")]
Prefix = Annotated[str, typer.Option(help="Of the store's keys in Redis.")]


@profile_app.command()
def export(
    user: User,
    store: StoreName = None,
    server: Server = None,
    token_file: TokenFile = None,
    prefix: Prefix = "tribid",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write; else it is printed.")] = None,
) -> None:
    """Show all that is held about a user, as JSON: profile, messages, what is waited for, hashes of counted events.

    Leaves with 1 where nothing is known of the user.

    Example: `tribid profile export 42 --store runs/profiles -o 42.json`.
    """
    with readable_errors():
        path = f"{_address(user)}?export=true"
        if _is_server(store, server):
            found = _ask("GET", server, path, token_file)
        else:
            found = asyncio.run(_with_store(store, prefix, lambda opened: opened.export(user)))
        if found is None:
            console.print("nothing is known of this user")
            raise typer.Exit(1)
        if output is None:
            sys.stdout.write(found.decode())
        else:
            from tribid.files import write_atomically

            write_atomically(output, found)
            output.chmod(0o600)
            console.print(f"written to {output}", highlight=False, markup=False)


@profile_app.command()
def erase(
    user: User,
    store: StoreName = None,
    server: Server = None,
    token_file: TokenFile = None,
    prefix: Prefix = "tribid",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether this is meant.")] = False,
) -> None:
    """Erase all that is held about a user, in memory and in every file of the store; this cannot be undone.

    Events of the user from before the erasure that are told again do not count. Leaves with 1 where nothing was known.

    Example: `tribid profile erase 42 --server http://127.0.0.1:8080 --yes`.
    """
    with readable_errors():
        is_server = _is_server(store, server)
        if not yes:
            typer.confirm("Erase all that is held about this user?", abort=True)
        if is_server:
            import msgspec

            told = _ask("DELETE", server, _address(user), token_file)
            erased = told is not None and msgspec.json.decode(told)["erased"]
        else:
            erased = asyncio.run(_with_store(store, prefix, lambda opened: opened.erase(user)))
        console.print("erased" if erased else "nothing is known of this user")
    if not erased:
        raise typer.Exit(1)


@profile_app.command()
def check(store: StoreName = None, prefix: Prefix = "tribid") -> None:
    """Read a store whole and check that its parts agree; a folder must not be in use, Redis may be.

    A write that a crash cut short is no fault: it was never answered for. Leaves with 1 where something is wrong, and
    with 2 where the store cannot be read.
    """
    with readable_errors():
        from tribid.ranker.profile.check import check_store

        report = asyncio.run(_with_store(store, prefix, check_store))
        console.print(
            f"{report.users} users, {report.events} events remembered; {report.waiting} messages wait, "
            f"{report.messages} are to be sent",
            highlight=False,
        )
        for problem in report.problems:
            console.print(f"wrong: {problem}", style="bold red", highlight=False, soft_wrap=True, markup=False)
    if report.problems:
        raise typer.Exit(1)
    console.print("[bold green]the profiles agree[/]")


def _is_server(store: str | None, server: str | None) -> bool:
    if (store is None) == (server is None):
        raise ValueError("allowed is either --store or --server, one of them")
    return server is not None


async def _with_store(store: str | None, prefix: str, work: "Callable[[ProfileStore], Awaitable[Any]]") -> Any:
    from tribid.ranker.profile.errors import ProfilesUnavailableError

    try:
        async with _opened(store, prefix) as opened:
            return await work(opened)
    except ProfilesUnavailableError as error:
        raise ValueError(" ".join(str(error).split())) from None


@asynccontextmanager
async def _opened(store: str | None, prefix: str) -> "AsyncIterator[ProfileStore]":
    if store is None:
        raise ValueError(f"--store is missing; allowed is a folder, or redis with its URL in {REDIS_VARIABLE}")
    from tribid.ranker.profile.settings import ProfileSettings

    opened: ProfileStore
    settings = ProfileSettings(keep_days=3650)  # whatever the server remembers, nothing of it is forgotten here
    if store == "redis" or "://" in store:
        from tribid.ranker.profile.redis_store import RedisProfiles

        url = os.environ.get(REDIS_VARIABLE, "") if store == "redis" else store
        if not url:
            raise ValueError(f"profiles in redis need their URL in the environment's {REDIS_VARIABLE}")
        opened = await RedisProfiles.open(url, settings, prefix=prefix)
    else:
        from tribid.ranker.profile.journaled import JournaledProfiles

        opened = await JournaledProfiles.open(store, settings, create=False)
    try:
        yield opened
    finally:
        await opened.close()


def _address(user: str) -> str:
    # A client takes a path's . and .. for this place and the one above it, unless they are escaped.
    return f"/v1/profile/{quote(user, safe='').replace('.', '%2E')}"


def _ask(method: str, server: str | None, path: str, token_file: Path | None) -> bytes | None:
    """A server's answer; None for 404. ``ValueError`` tells what it says of a mistake, or that it cannot be reached."""
    try:
        import httpx
    except ImportError as error:
        raise ImportError("asking a server needs httpx: pip install 'tribid[serve]'") from error
    from tribid.ranker.service.settings import token_of

    token = token_of(token_file)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        answer = httpx.request(method, f"{(server or '').rstrip('/')}{path}", headers=headers, timeout=700)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(f"{server} cannot be asked: {error or type(error).__name__}") from None
    if answer.status_code == 404 and b'"user"' in answer.content:
        return None
    if answer.status_code == 401:
        raise ValueError(f"{server} asks for its token; give it as --token-file FILE, or set {TOKEN_VARIABLE}")
    if answer.status_code != 200:
        raise ValueError(f"{server} answers {answer.status_code}: {answer.text[:300]}")
    return answer.content
