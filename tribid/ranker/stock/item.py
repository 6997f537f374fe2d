"""``StockItem``: one thing for sale, checked on creation; ``StockChange``: what an update did to it."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

MAX_TITLE = 1_000
MAX_URL = 2_000
_MOST = {"price_micros": 10**14, "count": 10**9, "category": 2**25 - 1}
_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")


class StockItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An item as it stands: ``price_micros`` is what it costs now, ``count`` how many there are, ``url`` where it is sold.

    ``ValueError`` names the field for a title that is blank or of more than 1,000 characters, a number below 0 or beyond
    its bound, and a URL that ``check_url`` refuses. A title is anybody's text: whoever shows it escapes it.

    >>> StockItem(title="Lamp", price_micros=12_500_000, count=3, category=1, url="https://shop.example/lamp").count
    3
    """

    title: str
    price_micros: int
    count: int
    category: int
    url: str

    def __post_init__(self) -> None:
        if not self.title.strip() or len(self.title) > MAX_TITLE:
            raise ValueError(f"title has {len(self.title)} characters; allowed are 1 to {MAX_TITLE}, not all blank")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise ValueError(f"{name} is {value!r}; allowed is a whole number from 0 to {most}")
        check_url(self.url, "url")


class StockChange(NamedTuple):
    """An item before and after an update at ``time_ms``; ``version`` counts the stock's updates from 1."""

    item: int
    before: StockItem
    after: StockItem
    time_ms: int
    version: int


def check_url(url: str, name: str) -> str:
    """Return a URL that one may send a browser to; ``ValueError`` calls it ``name``.

    Allowed is http or https with a host and no user or password, in visible ASCII characters without quotes, angle
    brackets or backslashes: what browsers and proxies would otherwise each read in their own way.

    >>> check_url("javascript:alert(1)", "url")
    Traceback (most recent call last):
    ValueError: url is 'javascript:alert(1)'; allowed is http:// or https:// with a host
    """
    told = f"{name} is {url[:80]!r}; allowed is"
    if len(url) > MAX_URL:
        raise ValueError(f"{name} has {len(url)} characters; allowed are up to {MAX_URL}")
    if url and (not _VISIBLE.fullmatch(url) or set(url) & set("\"'<>\\`{}|^")):
        raise ValueError(f"{told} visible ASCII, with quotes, angle brackets, backslashes and the like as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{told} a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or not url.lower().startswith(f"{parts.scheme}://"):
        raise ValueError(f"{told} http:// or https:// with a host")
    host = parts.netloc.removesuffix("" if port is None else f":{port}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{told} a host's name or address, without a user or password")
    return url
