"""``tribid mail``: an example HTML mail whose slots are filled when it is opened."""

import time
from pathlib import Path
from typing import Annotated

import typer

from tribid.cli.terminal import console, readable_errors

_DAY_MS = 86_400_000


def mail(
    user: Annotated[str, typer.Argument(help="Whom the mail is for, as in the events that the service is told.")],
    server: Annotated[str, typer.Option(help="Where `tribid serve` can be reached: https://mail.shop.example.")],
    key: Annotated[
        Path, typer.Option(help="File of the secret that seals slots (`openssl rand -hex 32`), the server's own.")
    ],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("mail.html"),
    message: Annotated[
        str | None, typer.Option(help="The mail's id, by which its slots remember; left out, made of the time.")
    ] = None,
    slots: Annotated[int, typer.Option(help="How many slots.")] = 4,
    days: Annotated[float, typer.Option(help="For how many days its slots are filled.")] = 30.0,
    subject: Annotated[str, typer.Option(help="What it says above.")] = "Picked for you",
    about: Annotated[str, typer.Option(help="An item that the user looked at; left out, none is named.")] = "",
    unsubscribe: Annotated[
        str | None, typer.Option(help="Your page that ends the mails; left out, the mail links to none.")
    ] = None,
) -> None:  # fmt: skip
    """Write an example mail: HTML whose pictures are picked and drawn by `tribid serve --consumers` when it is opened.

    Example: `tribid mail 42 --server http://127.0.0.1:8080 --key slots.key --out mail.html`.
    """
    with readable_errors():
        from tribid.files import write_atomically
        from tribid.ranker.open_time.mail import MailText, example_mail
        from tribid.ranker.open_time.tokens import Signer, read_keys

        now_ms = time.time_ns() // 1_000_000
        written = example_mail(
            Signer(read_keys(key)),
            server=server,
            user=user,
            message=f"mail-{now_ms}" if message is None else message,
            now_ms=now_ms,
            unsubscribe=unsubscribe,
            slots=slots,
            life_ms=round(days * _DAY_MS),
            text=MailText(subject=subject, about=about),
        )
        write_atomically(out, written)
        console.print(f"wrote [bold]{out}[/]", soft_wrap=True)
        if unsubscribe is None:
            typer.echo("the mail has no link to unsubscribe; give the page for that as --unsubscribe URL", err=True)
