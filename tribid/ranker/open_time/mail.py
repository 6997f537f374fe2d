"""``example_mail``: an HTML mail whose slots are filled when it is opened.

It loads nothing but its slots' pictures: styles are in place, layout is a table of 600 pixels, and every picture has a
text for readers without pictures. What is said in it is text, never markup, whatever is in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tribid.ranker.open_time.card import HEIGHT, WIDTH
from tribid.ranker.open_time.text import clean
from tribid.ranker.open_time.tokens import MAX_SLOTS, Signer, Slot
from tribid.ranker.stock.item import check_url

_TEMPLATE = Path(__file__).with_name("mail.html")
_MOST_MS = 366 * 86_400_000


@dataclass(frozen=True, kw_only=True)
class MailText:
    """What a mail says; ``about`` names an item that the user looked at, empty for none. All of it is cut and cleaned."""

    subject: str = "Picked for you"
    greeting: str = "Hello, these are in stock as you read this."
    about: str = ""
    alt: str = "An offer picked for you; open the shop to see it"
    footer: str = "Prices and stock are as of the moment you opened this mail."


class SlotLinks(NamedTuple):
    """Where a slot's picture is, and where its click leads."""

    picture: str
    click: str


def slot_links(signer: Signer, server: str, slot: Slot) -> SlotLinks:
    """The addresses of a slot on a server such as ``https://mail.shop.example``."""
    base = f"{check_url(server, 'server').rstrip('/')}/v1/slot/"
    return SlotLinks(f"{base}{signer.token('open', slot)}.png", f"{base}{signer.token('click', slot)}/click")


def example_mail(
    signer: Signer,
    *,
    server: str,
    user: str,
    message: str,
    now_ms: int,
    unsubscribe: str | None = None,
    slots: int = 4,
    life_ms: int = 30 * 86_400_000,
    text: MailText | None = None,
) -> str:
    """The mail of one user, as HTML; its slots live for ``life_ms`` from ``now_ms``.

    ``server`` is where the slots' addresses are, ``unsubscribe`` the page that ends the mails; left out, the mail links to
    none. ``ValueError`` names what is not allowed, ``ImportError`` the extra that is missing.
    """
    if not 1 <= slots <= MAX_SLOTS:
        raise ValueError(f"slots is {slots}; allowed is 1 to {MAX_SLOTS}")
    if not 1 <= life_ms <= _MOST_MS:
        raise ValueError(f"life_ms is {life_ms}; allowed is 1 to {_MOST_MS}, a year")
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError("mails need Jinja2: pip install 'tribid[mail]'") from error
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    wanted = [
        Slot(user=user, message=message, slot=number, issued_ms=now_ms, expires_ms=now_ms + life_ms)
        for number in range(slots)
    ]
    return page.render(
        text=_cleaned(MailText() if text is None else text),
        slots=[slot_links(signer, server, slot) for slot in wanted],
        unsubscribe=None if unsubscribe is None else check_url(unsubscribe, "unsubscribe"),
        width=WIDTH,
        height=HEIGHT,
    )


def _cleaned(text: MailText) -> MailText:
    return MailText(**{name: clean(getattr(text, name)) for name in text.__dataclass_fields__})
