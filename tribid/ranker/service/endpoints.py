"""What each address of the service does: bytes in, bytes out, by the messages' own types."""

import re
from time import perf_counter
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from tribid.ranker.consumers.seen_pages import consumer_events
from tribid.ranker.messages import Decision, Request
from tribid.ranker.profile.messages import ConsumerReceipt
from tribid.ranker.service.errors import ServiceError
from tribid.ranker.service.metrics import Metrics
from tribid.ranker.service.serving import Serving
from tribid.ranker.service.wire import Activation, Decisions, EventBatch, Health, RankBatch, Receipts
from tribid.refusals import JsonDecoder

_LEAST_MS = 0.001


class _Shape(Struct):
    """Whether a rank body holds a batch, told without reading what is in it."""

    requests: msgspec.Raw | UnsetType = UNSET


_SHAPE = msgspec.json.Decoder(_Shape)
_ONE = JsonDecoder(Request)
_BATCH = JsonDecoder(RankBatch)
_EVENTS = JsonDecoder(EventBatch)
_ACTIVATION = JsonDecoder(Activation)
_ENCODER = msgspec.json.Encoder()
_BATCH_START = re.compile(rb'\s*\{\s*"requests"\s*:')


class Endpoints:
    """The service's answers, as JSON bytes; errors are raised (see ``service_error``)."""

    def __init__(self, serving: Serving, metrics: Metrics) -> None:
        self._serving, self._metrics = serving, metrics
        self._asked = 0

    async def rank(self, body: bytes, query: bytes, arrived: float) -> bytes:
        """One request or a batch; ``arrived`` is when its first byte did, on the clock of ``perf_counter``.

        What has passed since then is taken off the requests' ``timeout_ms``.
        """
        live, explain = self._serving.ranker(), _wants_explaining(query)
        self._asked += 1
        sampled = self._asked % self._serving.settings.stage_sample == 0
        one = _one_of(body)
        if one is not None:
            request = self._hurried(one, arrived)
            decision = await live.rank(request, explain=explain or sampled)
            if sampled:
                self._metrics.see_stages(decision)
            return _ENCODER.encode(_plain(decision) if sampled and not explain else decision)
        batch = [self._hurried(request, arrived) for request in _BATCH.decode(body).requests]
        decisions = await live.rank_many(batch, explain=explain)
        return _ENCODER.encode(Decisions(tuple(decisions)))

    async def events(self, body: bytes, query: bytes, arrived: float) -> bytes:
        """Receipts of a batch of events; what happened to pages also counts in the profiles, where there are some."""
        live, batch, consumers = self._serving.ranker(), _EVENTS.decode(body), self._serving.consumers
        if not batch.events and not batch.consumers:
            raise ServiceError(422, "$.events", "there are none, and no $.consumers; allowed is one event at least")
        if batch.consumers and consumers is None:
            raise ServiceError(422, "$.consumers", "this service keeps no profiles; allowed are none")
        receipts = await live.events(batch.events) if batch.events else []
        self._metrics.see_receipts(receipts)
        told: list[ConsumerReceipt] = []
        if consumers is not None:
            happened = zip(batch.events, receipts, map(live.shown, batch.events), strict=True)
            await consumers.saw(consumer_events(happened, has_items=consumers.has_items))
            told = await consumers.take(batch.consumers)
        return _ENCODER.encode(Receipts(tuple(receipts), tuple(told)))

    async def policies(self) -> bytes:
        """Which releases there are, and what each is used for."""
        return _ENCODER.encode(self._serving.ranker().policies())

    async def activate(self, name: str, body: bytes) -> bytes:
        """Put a release to use; an empty body makes it the active one. ``ServiceError`` 404 for an unknown name."""
        live = self._serving.ranker()
        wanted = _ACTIVATION.decode(body) if body.strip() else Activation()
        known = [release.name for release in live.policies().releases]
        if name not in known:
            raise ServiceError(404, "name", f"no policies named {name!r:.120}; choose {', '.join(known)}")
        return _ENCODER.encode(await live.activate(name, mode=wanted.mode, percent=wanted.percent))

    async def rollback(self, body: bytes) -> bytes:
        """Make the release that was active before the active one again."""
        if body.strip() not in (b"", b"{}"):
            raise ServiceError(422, "$", "allowed is an empty body or {}")
        return _ENCODER.encode(await self._serving.ranker().rollback())

    def _hurried(self, request: Request, arrived: float) -> Request:
        """The request with what is left of its time, at least a microsecond: then it falls back wherever it can."""
        timeout_ms = self._serving.settings.timeout_ms if request.timeout_ms is None else request.timeout_ms
        if timeout_ms is None:
            return request
        return structs.replace(request, timeout_ms=max(timeout_ms - (perf_counter() - arrived) * 1e3, _LEAST_MS))


def _one_of(body: bytes) -> Request | None:
    """The request in a body; None where the body holds a batch. Raises what is wrong with one that is neither."""
    if _BATCH_START.match(body) is not None:
        return None
    try:
        return _ONE.decode(body)
    except msgspec.DecodeError:
        if _SHAPE.decode(body).requests is UNSET:
            raise
        return None


def health(status: str) -> bytes:
    """A ``Health`` as JSON."""
    return _ENCODER.encode(Health(status))


def _plain(decision: Decision) -> Decision:
    """The decision as it is answered to those who did not ask how long its stages took."""
    return structs.replace(decision, stage_ms={})


def _wants_explaining(query: bytes) -> bool:
    """The parameter ``explain``: true or false; ``ServiceError`` 422 for another value or another parameter."""
    if not query:
        return False
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=8)
    except ValueError:
        raise ServiceError(422, "query", "allowed is ?explain=true") from None
    for name, value in pairs:
        if name != "explain":
            raise ServiceError(422, "query", f"unknown parameter {name!r:.60}; allowed is explain")
        if value not in ("true", "false"):
            raise ServiceError(422, "explain", f"explain is {value!r:.60}; allowed is true or false")
    return ("explain", "true") in pairs
