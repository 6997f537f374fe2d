"""The live stock over HTTP: ``GET /v1/items/{item}`` reads an item, ``POST /v1/items`` changes some."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tribid.ranker.messages import Name
from tribid.ranker.service.bodies import check_json_type
from tribid.ranker.service.errors import ServiceError
from tribid.ranker.stock.item import StockItem
from tribid.ranker.stock.stock import LiveStock
from tribid.refusals import JsonDecoder

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MAX_CHANGES = 1_000
REMEMBERED = 100_000
"""Changes in calls with an ``id`` whose answers are remembered, the newest."""


class ItemChange(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What changes of an item; what is left out stays. ``take`` takes so many away, if there are so many."""

    item: Annotated[int, Meta(ge=0, lt=2**31)]
    title: str | UnsetType = UNSET
    price_micros: int | UnsetType = UNSET
    count: int | UnsetType = UNSET
    url: str | UnsetType = UNSET
    take: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class ItemChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """Changes, made in this order.

    ``id`` names the call: told again with the same changes, it gets the answer that it got, and nothing is changed twice;
    with others, 409. That holds for the newest calls, up to 100,000 changes together, until the service stops. Without an
    ``id``, a ``take`` that is told twice takes twice.
    """

    items: Annotated[tuple[ItemChange, ...], Meta(min_length=1, max_length=MAX_CHANGES)]
    id: Name | None = None


class ItemState(Struct, frozen=True, kw_only=True):
    """An item as it stands after a change; ``done`` is False where fewer were left than should be taken."""

    item: int
    price_micros: int
    count: int
    done: bool = True


class ItemStates(Struct, frozen=True):
    """What became of each change."""

    items: tuple[ItemState, ...]


_CHANGES = JsonDecoder(ItemChanges)
_ENCODE = msgspec.json.Encoder().encode


def changed(stock: LiveStock, changes: ItemChanges) -> ItemStates:
    """Make the changes; all are checked before the first is made. ``ServiceError`` names the field that is not allowed."""
    for place, one in enumerate(changes.items):
        try:
            before = stock.item(one.item)
            StockItem(**{**msgspec.structs.asdict(before), **_fields(one)})
        except ValueError as error:
            raise ServiceError(422, f"$.items[{place}]", str(error)) from None
    return ItemStates(tuple(_change(stock, one) for one in changes.items))


class ChangesOnce:
    """Makes changes of a stock, those of a call with an ``id`` once; see ``ItemChanges``."""

    def __init__(self, stock: LiveStock, *, remembered: int = REMEMBERED) -> None:
        self._stock, self._most, self._held = stock, remembered, 0
        self._told: OrderedDict[str, tuple[ItemChanges, ItemStates]] = OrderedDict()

    def make(self, changes: ItemChanges) -> ItemStates:
        """What became of each change; ``ServiceError`` names the field that is not allowed."""
        if changes.id is None:
            return changed(self._stock, changes)
        before = self._told.get(changes.id)
        if before is not None:
            if before[0] != changes:
                raise ServiceError(409, "id", "id was used for other changes; allowed is a new one")
            return before[1]
        states = changed(self._stock, changes)
        self._told[changes.id] = changes, states
        self._held += len(changes.items)
        while self._held > self._most and len(self._told) > 1:
            _, (oldest, _) = self._told.popitem(last=False)
            self._held -= len(oldest.items)
        return states


def _change(stock: LiveStock, one: ItemChange) -> ItemState:
    fields = _fields(one)
    if fields:
        stock.update(one.item, **fields)
    done = one.take is UNSET or stock.take(one.item, one.take)
    now = stock.item(one.item)
    return ItemState(item=one.item, price_micros=now.price_micros, count=now.count, done=done)


def _fields(one: ItemChange) -> dict[str, object]:
    given = msgspec.structs.asdict(one)
    return {name: value for name, value in given.items() if name not in ("item", "take") and value is not UNSET}


def stock_routes(stock: LiveStock) -> "list[Route]":
    """The routes of a stock, for the service's application."""
    from starlette.responses import Response
    from starlette.routing import Route

    once = ChangesOnce(stock)

    async def read(request: "Request") -> "Response":
        number = request.path_params["item"]
        try:
            return Response(_ENCODE(stock.item(number)), media_type="application/json")
        except ValueError as error:
            raise ServiceError(404, "item", str(error)) from None

    async def change(request: "Request") -> "Response":
        check_json_type(request.scope)
        wanted = _CHANGES.decode(await request.body())
        return Response(_ENCODE(once.make(wanted)), media_type="application/json")

    return [
        Route("/v1/items/{item:int}", read, methods=["GET"], include_in_schema=False),
        Route("/v1/items", change, methods=["POST"], include_in_schema=False),
    ]
