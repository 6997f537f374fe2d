"""Look after ledgers: ``tribid ledger check``."""

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tribid.cli.terminal import console, readable_errors

if TYPE_CHECKING:
    from rich.table import Table

    from tribid.ranker.ledger.journal import JournalReport

POSTGRES_VARIABLE = "TRIBID_POSTGRES"
"""Of the environment: the DSN of a ledger in PostgreSQL, which no list of processes shows there."""

ledger_app = typer.Typer(no_args_is_help=True, help="Look after the ledger of `tribid serve`.")


@ledger_app.callback()
def _ledger() -> None:
    pass  # with a callback, `check` stays a subcommand though it is the only one


@ledger_app.command()
def check(
    ledger: Annotated[
        str,
        typer.Argument(
            help=f"The ledger's SQLite file, or postgres: its DSN is then in the environment's {POSTGRES_VARIABLE}. A DSN "
            "(postgresql://host/database) is taken, too, but everybody on this machine can read it here."
        ),
    ],
    schema: Annotated[str, typer.Option(help="Where in a PostgreSQL database the ledger lies.")] = "tribid_ledger",
) -> None:
    """Read a ledger's whole journal and check that the books add up; a server may be using it meanwhile.

    Shows every advertiser's balances, the revenue and the open holds. Leaves with 1 where something is wrong.
    """
    with readable_errors():
        from tribid.ranker.ledger.journal import check_journal

        try:
            report = check_journal(postgres_dsn() if ledger == "postgres" else ledger, schema=schema)
        except ValueError as error:
            raise ValueError(" ".join(str(error).split())) from None  # a database tells its troubles in several lines
    console.print(_balances(report))
    console.print(
        f"{report.entries} entries of {report.days} days; {report.holds} holds, {report.holds_open} open; "
        f"{report.events} events; revenue {_units(report.revenue_micros)}",
        highlight=False,
    )
    console.print(f"debits {report.debits_micros} micros, credits {report.credits_micros} micros", highlight=False)
    for problem in report.problems:
        console.print(f"[bold red]wrong:[/] {escape(problem)}", highlight=False, soft_wrap=True)
    if report.problems:
        raise typer.Exit(1)
    console.print("[bold green]the books add up[/]")


def postgres_dsn() -> str:
    """The DSN in the environment; ``ValueError``, which repeats nothing of it, where there is none that can be read."""
    dsn = os.environ.get(POSTGRES_VARIABLE, "")
    if not dsn:
        raise ValueError(f"a ledger in postgres needs its DSN in the environment's {POSTGRES_VARIABLE}")
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ImportError("a ledger in PostgreSQL needs psycopg: pip install 'tribid[postgres]'") from None
    try:
        conninfo_to_dict(dsn)
    except ProgrammingError:
        raise ValueError(
            f"{POSTGRES_VARIABLE} holds no DSN; allowed is one such as postgresql://user@host/database"
        ) from None
    return dsn


def _balances(report: "JournalReport") -> "Table":
    from rich.table import Table

    table = Table("advertiser", title="Balances, in units of 1,000,000 micros")
    for column in ("funded", "free", "held", "paid"):
        table.add_column(column, justify="right")
    for name, *micros in report.advertisers:
        table.add_row(escape(name), *map(_units, micros))
    return table


def _units(micros: int) -> str:
    # Exact: six places hold every micro.
    sign, rest = "-" if micros < 0 else "", abs(micros)
    return f"{sign}{rest // 1_000_000}.{rest % 1_000_000:06d}"
