"""One call of the ranker's clients: what is sent, what its answer means, and the error that a refusal is raised as."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from tribid.ranker.service.wire import Failure

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class RankerError(Exception):
    """The ranker refused, or gave no answer that it could have meant.

    ``status`` is HTTP's, ``field`` what is at fault (``$.requests[3].tick``; empty where it is nothing in particular),
    ``message`` what is allowed. What is wrong with the connection is raised as ``httpx.TransportError``.
    """

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(f"{status}: {message}" + (f" ({field})" if field and field not in message else ""))
        self.status, self.field, self.message = status, field, message


class Call(NamedTuple, Generic[T]):
    """One call, ready to be sent, and what its answer means; ``again``: sent twice, it does no more than sent once."""

    method: str
    path: str
    read: "Callable[[httpx.Response], T]"
    body: bytes | None = None
    again: bool = True

    def arguments(self) -> dict[str, Any]:
        """What httpx's ``request`` takes."""
        headers = {} if self.body is None else {"content-type": "application/json"}
        return {"method": self.method, "url": self.path, "content": self.body, "headers": headers}


def read(response: "httpx.Response", kind: type[T]) -> T:
    """The answer's content; ``RankerError`` for a refusal, and for an answer that is none of a ranker's."""
    try:
        if response.is_success:
            return msgspec.json.decode(response.content, type=kind)
        told = msgspec.json.decode(response.content, type=Failure).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RankerError(response.status_code, "", "the answer is no ranker's") from None
    raise RankerError(response.status_code, told.field, told.message)
