"""What went wrong with a request, as the one shape that every error of the service has: ``{"error": {field, message}}``."""

import re

import msgspec

from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.live import Closed, Conflict
from tribid.ranker.service.wire import Failure, Problem

_AT = re.compile(r" - at `(.+)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]{1,100})`")
_NAMED = re.compile(r"^(\$[\w.\[\]]*|[a-z_]+(?= is )) ?")


class ServiceError(Exception):
    """An answer other than success: its status, the field at fault, and headers; ``hang_up`` closes the connection."""

    def __init__(
        self, status: int, field: str, message: str, *, headers: dict[str, str] | None = None, hang_up: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.field, self.message = status, field, message
        self.headers = dict(headers or {})
        if hang_up:
            self.headers["connection"] = "close"

    def body(self) -> bytes:
        """The answer's JSON."""
        return msgspec.json.encode(Failure(Problem(self.field, self.message)))


def service_error(error: Exception) -> ServiceError | None:
    """The answer to what the ranker or a decoder raised; None for what is our own fault.

    400: no JSON. 422: JSON that is not allowed. 409: answered otherwise before. 503: the ranker is closed, or its
    ledger cannot be reached.
    """
    if isinstance(error, ServiceError):
        return error
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        found, unknown = _AT.search(text), _UNKNOWN.match(text)
        field = (found[1] if found else "$") + (f".{unknown[1]}" if unknown else "")
        return ServiceError(422, field, text[: found.start()] if found else text)
    if isinstance(error, RecursionError):
        return ServiceError(400, "$", "the body is nested too deeply")
    if isinstance(error, (msgspec.DecodeError, UnicodeDecodeError)):
        return ServiceError(400, "$", f"the body is no JSON: {text}")
    if isinstance(error, Conflict):
        return ServiceError(409, _field(text), text)
    if isinstance(error, Closed):
        return ServiceError(503, "", "the ranker is closed", headers={"retry-after": "1"})
    if isinstance(error, LedgerUnavailableError):
        return ServiceError(503, "", "the ledger is not available", headers={"retry-after": "1"})
    if isinstance(error, ValueError):
        return ServiceError(422, _field(text), text)
    return None


def own_fault() -> ServiceError:
    """The answer to what is our own fault; it tells nothing of what went wrong."""
    return ServiceError(500, "", "the server made a mistake; its log says where")


def _field(text: str) -> str:
    """The field that a message begins with, such as ``$.requests[3].tick``; empty where it begins otherwise."""
    found = _NAMED.match(text)
    return found[1] if found else ""
