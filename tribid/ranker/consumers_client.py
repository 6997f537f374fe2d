"""What ``Client`` and ``AsyncClient`` ask of a service that keeps consumers, with the service's own types."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec

from tribid.ranker.actions.messages import (
    ActionEvent,
    ActionEvents,
    ActionList,
    ActionReceipt,
    ActionReceipts,
    ActionRequest,
)
from tribid.ranker.client_call import Call, RankerError, read
from tribid.ranker.consumers.stock_routes import ItemChange, ItemChanges, ItemState, ItemStates
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Message
from tribid.ranker.profile.router import Acknowledged, Acknowledgement, ErasedData, Messages, ShownProfile
from tribid.ranker.service.wire import EventBatch, Receipts
from tribid.ranker.stock.item import StockItem

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_encode = msgspec.json.encode


def _tell(events: Sequence[ConsumerEvent]) -> Call[list[ConsumerReceipt]]:
    body = _encode(EventBatch(consumers=tuple(events)))
    return Call("POST", "/v1/events", lambda answer: list(read(answer, Receipts).consumers), body)


def _profile(user: str) -> Call[ShownProfile | None]:
    return Call("GET", _path_of(user), _read_profile)


def _read_profile(response: "httpx.Response") -> ShownProfile | None:
    """The profile; None for a user of whom nothing is known, which is no refusal."""
    try:
        return read(response, ShownProfile)
    except RankerError as error:
        if (error.status, error.field) != (404, "user"):
            raise
        return None


def _erase(user: str) -> Call[bool]:
    return Call("DELETE", _path_of(user), lambda answer: read(answer, ErasedData).erased)


def _path_of(user: str) -> str:
    """The address of a user's profile; a name of dots alone would lead elsewhere."""
    return f"/v1/profile/{quote(user, safe='').replace('.', '%2E')}"


def _messages(limit: int) -> Call[list[Message]]:
    return Call("GET", f"/v1/messages?limit={limit}", lambda answer: list(read(answer, Messages).messages))


def _acknowledge(ids: Sequence[str]) -> Call[int]:
    body = _encode(Acknowledgement(tuple(ids)))
    return Call("POST", "/v1/messages:ack", lambda answer: read(answer, Acknowledged).acknowledged, body)


def _item(item: int) -> Call[StockItem]:
    return Call("GET", f"/v1/items/{item}", lambda answer: read(answer, StockItem))


def _change_items(changes: Sequence[ItemChange], id: str | None) -> Call[list[ItemState]]:
    body = _encode(ItemChanges(tuple(changes), id))
    return Call("POST", "/v1/items", lambda answer: list(read(answer, ItemStates).items), body, again=id is not None)


def _actions(request: ActionRequest) -> Call[ActionList]:
    return Call(
        "POST", "/v1/actions", lambda answer: read(answer, ActionList), _encode(request), request.id is not None
    )


def _tell_actions(events: Sequence[ActionEvent]) -> Call[list[ActionReceipt]]:
    body = _encode(ActionEvents(tuple(events)))
    return Call("POST", "/v1/actions/events", lambda answer: list(read(answer, ActionReceipts).receipts), body)


class ConsumersClient(ABC):
    """The methods of a client for consumers; a service without them answers ``RankerError`` 404, or 422 to ``tell``."""

    @abstractmethod
    def _ask(self, call: Call[T]) -> T: ...

    def tell(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """Tell what consumers did; a receipt for each event, in order. Name ``time_ms`` in what may be told late."""
        return self._ask(_tell(events))

    def profile(self, user: str) -> ShownProfile | None:
        """What is known of a user; None where nothing is."""
        return self._ask(_profile(user))

    def erase(self, user: str) -> bool:
        """Erase a user's data, gone when this returns; whether there were any (False where a broken call had done it)."""
        return self._ask(_erase(user))

    def messages(self, limit: int = 100) -> list[Message]:
        """Messages that are to be sent, the oldest first; handed out again after a minute unless acknowledged."""
        return self._ask(_messages(limit))

    def acknowledge(self, ids: Sequence[str]) -> int:
        """Say that messages were sent; how many of them were known and had not been acknowledged."""
        return self._ask(_acknowledge(ids))

    def item(self, item: int) -> StockItem:
        """An item as it stands now; ``RankerError`` 404 for one that there is not."""
        return self._ask(_item(item))

    def change_items(self, changes: Sequence[ItemChange], *, id: str | None = None) -> list[ItemState]:
        """Change prices, numbers, titles, addresses, or ``take`` some away; what became of each, in order.

        Calls with an ``id`` are made once, and so are sent again when the connection breaks; others are not.
        """
        return self._ask(_change_items(changes, id))

    def actions(self, request: ActionRequest) -> ActionList:
        """The next best actions of a user; a request with an ``id`` is sent again when the connection breaks."""
        return self._ask(_actions(request))

    def tell_actions(self, events: Sequence[ActionEvent]) -> list[ActionReceipt]:
        """Tell which proposals were viewed, not taken and taken; a receipt for each event, in order."""
        return self._ask(_tell_actions(events))


class AsyncConsumersClient(ABC):
    """``ConsumersClient`` for asyncio: the same methods, awaited."""

    @abstractmethod
    async def _ask(self, call: Call[T]) -> T: ...

    async def tell(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        """See ``ConsumersClient.tell``; so are the others."""
        return await self._ask(_tell(events))

    async def profile(self, user: str) -> ShownProfile | None:
        """See ``ConsumersClient``."""
        return await self._ask(_profile(user))

    async def erase(self, user: str) -> bool:
        """See ``ConsumersClient``."""
        return await self._ask(_erase(user))

    async def messages(self, limit: int = 100) -> list[Message]:
        """See ``ConsumersClient``."""
        return await self._ask(_messages(limit))

    async def acknowledge(self, ids: Sequence[str]) -> int:
        """See ``ConsumersClient``."""
        return await self._ask(_acknowledge(ids))

    async def item(self, item: int) -> StockItem:
        """See ``ConsumersClient``."""
        return await self._ask(_item(item))

    async def change_items(self, changes: Sequence[ItemChange], *, id: str | None = None) -> list[ItemState]:
        """See ``ConsumersClient``."""
        return await self._ask(_change_items(changes, id))

    async def actions(self, request: ActionRequest) -> ActionList:
        """See ``ConsumersClient``."""
        return await self._ask(_actions(request))

    async def tell_actions(self, events: Sequence[ActionEvent]) -> list[ActionReceipt]:
        """See ``ConsumersClient``."""
        return await self._ask(_tell_actions(events))
