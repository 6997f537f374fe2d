"""``Asks``: what a load sends for each of its requests, and how an answer is told from something else."""

from typing import NamedTuple, Protocol

import msgspec

from tribid.benchmark.loadtest.clicks import Page
from tribid.benchmark.loadtest.load import Load
from tribid.benchmark.loadtest.pages import Pages


class Ask(NamedTuple):
    """One HTTP request; ``body`` None sends none."""

    method: str
    url: str
    body: bytes | None = None


class Asks(Protocol):
    """A load's requests, each of one or several steps that are sent one after another: its latency is theirs together."""

    def steps(self, request: int) -> tuple[Ask, ...]:
        """What is sent for request number ``request`` of the load."""
        ...

    def read(self, request: int, content: bytes) -> tuple[Page, ...]:
        """The pages in the last step's answer, if it holds any; ``ValueError`` where it is no answer to this request."""
        ...


class _Answer(msgspec.Struct):
    """The part of an answer that is read: of one page, or of a batch."""

    id: str = ""
    slots: tuple[msgspec.Raw, ...] = ()
    decisions: tuple[Page, ...] = ()


_ANSWER = msgspec.json.Decoder(_Answer)


class AskPages:
    """Pages of a ranker: ``POST /v1/rank``, ``load.batch`` of them at once."""

    def __init__(self, load: Load, pages: Pages) -> None:
        self._url, self._batch, self._pages = f"{load.base}/v1/rank", load.batch, pages

    def steps(self, request: int) -> tuple[Ask, ...]:
        """One POST."""
        return (Ask("POST", self._url, self._pages.body(request, self._batch)),)

    def read(self, request: int, content: bytes) -> tuple[Page, ...]:
        """Every page of the answer."""
        answer = _ANSWER.decode(content)
        return answer.decisions or (Page(answer.id, answer.slots),)
