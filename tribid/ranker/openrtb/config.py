"""``BidderConfig``: what exchanges must know of the advertisers and a scenario does not say, read from one YAML file.

    public_url: https://bidder.example         # left out: the address on which each bid request came in
    currencies: {USD: "1", EUR: "0.92"}        # what one unit of the scenario's money is worth; the first is the default
    seats: {adv_00: north, adv_01: south}      # short for advertisers.NAME.seat
    advertisers:
      adv_00: {adomain: [shoes.example], cat: [IAB18-4], deals: [spring-24], w: 300, h: 250}

Everything has a default, so a scenario can be offered to an exchange as it is: every advertiser ``NAME`` bids in one seat,
under the domain ``NAME.example``, with a creative ``NAME``.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from tribid.refusals import what_is_wrong

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Domain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Buyer(_Part):
    """One advertiser as exchanges see it.

    ``adomain`` and ``cat`` (in taxonomy ``cattax``) are what publishers block; ``attr`` the creative's attributes; ``w``
    and ``h`` its size (none: it fits any place). ``deals`` are the ids of deals that this advertiser may use. ``landing``
    is where a click leads; ``image`` what a banner shows.
    """

    seat: Token | None = None
    adomain: tuple[Domain, ...] = Field(min_length=1)
    cat: tuple[Token, ...] = ()
    cattax: int = 1
    cid: Token
    crid: Token
    attr: tuple[int, ...] = ()
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] | None = None
    bundle: Token | None = None
    deals: tuple[Token, ...] = ()
    w: int | None = Field(None, gt=0)
    h: int | None = Field(None, gt=0)
    mime: Token = "text/html"
    landing: AnyHttpUrl
    image: AnyHttpUrl

    @model_validator(mode="after")
    def _sized(self) -> "Buyer":
        if (self.w is None) != (self.h is None):
            raise ValueError(f"w is {self.w} and h is {self.h}; allowed is both or neither")
        return self


class BidderConfig(_Part):
    """How this bidder meets exchanges.

    ``public_url`` is where exchanges and browsers reach this service: notices and clicks lead there; without one, to the
    address of this machine on which the bid request came in, which suits one that nothing stands before. ``no_bid`` is how
    nothing is said: ``reason`` (200 with an ``nbr`` code where the specification has one, else 204), ``204``, or
    ``empty`` (200 and ``{}``). ``network_ms`` is how much of ``tmax`` the way takes, ``least_ms`` what must be left of it
    to bid at all. ``billed_on`` is what the exchange bills: an ``exposure`` (a viewable impression) earns a click at the
    predicted rate; a ``delivery`` earns the slot's effect times that, for not every delivered ad is looked at.
    ``auction_types`` are the values of ``at`` that are bid for. ``unknown_user`` is what a request that names nobody gets.
    """

    public_url: AnyHttpUrl | None = None
    seat: Token = "tribid"
    currencies: dict[Currency, Annotated[Decimal, Field(gt=0, le=10**6)]] = Field(
        default={"USD": Decimal(1)}, min_length=1
    )
    no_bid: Literal["reason", "204", "empty"] = "reason"
    network_ms: float = Field(20.0, ge=0, le=10_000, allow_inf_nan=False)
    least_ms: float = Field(2.0, ge=0, le=10_000, allow_inf_nan=False)
    billed_on: Literal["exposure", "delivery"] = "exposure"
    auction_types: tuple[int, ...] = (1, 2)
    unknown_user: Literal["bid", "no_bid"] = "bid"
    seats: dict[str, Token] = {}
    buyers: dict[str, Buyer] = Field(alias="advertisers")

    @cached_property
    def rates(self) -> dict[str, Fraction]:
        """What one unit of the scenario's money is worth in each currency, exactly; the first is the default."""
        return {currency: Fraction(rate) for currency, rate in self.currencies.items()}

    @property
    def url(self) -> str:
        """The public address without a slash at its end; empty where none was given."""
        return "" if self.public_url is None else str(self.public_url).rstrip("/")

    def seat_of(self, advertiser: str) -> str:
        """The seat in which an advertiser bids."""
        return self.seats.get(advertiser) or self.buyers[advertiser].seat or self.seat


def default_config(advertisers: Iterable[str]) -> BidderConfig:
    """The config of a scenario that nobody wrote one for.

    >>> default_config(["Blue Shoes"]).buyers["Blue Shoes"].adomain
    ('blue-shoes.example',)
    """
    return _checked({}, tuple(advertisers), "default")


def load_config(path: str | Path, advertisers: Iterable[str]) -> BidderConfig:
    """The config in a YAML file for these advertisers; ``ValueError`` names the file, the field and what is allowed."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"OpenRTB config {path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"OpenRTB config {path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"OpenRTB config {path} holds {type(content).__name__}; allowed is a mapping of settings")
    return _checked(content, tuple(advertisers), str(path))


def _checked(content: dict[str, object], names: tuple[str, ...], source: str) -> BidderConfig:
    given = content.get("advertisers", {})
    if not isinstance(given, dict) or any(not isinstance(entry, dict) for entry in given.values()):
        raise ValueError(f"OpenRTB config {source}: advertisers is no mapping of names to mappings")
    seats = content.get("seats", {})
    named = [*given, *(seats if isinstance(seats, dict) else ())]
    unknown = sorted({str(name) for name in named} - set(names))
    if unknown:
        raise ValueError(f"OpenRTB config {source}: no advertiser {unknown[0]!r}; choose {', '.join(names[:20])}")
    buyers = {name: {**_usual(name), **given.get(name, {})} for name in names}
    try:
        return BidderConfig.model_validate({**content, "advertisers": buyers})
    except ValidationError as error:
        wrong = ((".".join(map(str, one["loc"])), what_is_wrong(one, BidderConfig)) for one in error.errors())
        told = "; ".join(f"{where}: {what}" for where, what in wrong)
        raise ValueError(f"OpenRTB config {source}: {told}") from None


def _usual(name: str) -> dict[str, object]:
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "advertiser"
    domain = f"{label}.example"
    return {
        "adomain": (domain,),
        "cid": name,
        "crid": name,
        "landing": f"https://{domain}/",
        "image": f"https://{domain}/creative.png",
    }
