"""``Metrics``: what the service and its ranker did, for Prometheus, in a registry of its own."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence

from tribid.ranker.live import LiveRanker, LiveState
from tribid.ranker.messages import Decision, Receipt
from tribid.ranker.open_time.open_time import OUTCOMES, OpenTime
from tribid.ranker.service.settings import Settings

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
    from prometheus_client.registry import Collector
except ImportError as missing:  # pragma: no cover
    raise ImportError("the HTTP service needs prometheus-client: pip install 'tribid[serve]'") from missing

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
_STAGE_SECONDS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
_MONEY = ("free", "held", "spent")


class Metrics:
    """Counters that grow with every request, and gauges that are read from the ranker when they are asked for.

    Labels are few whatever is asked of the service: addresses as they are declared, and at most
    ``settings.metrics_advertisers`` advertisers.
    """

    media_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, settings: Settings, collectors: Sequence[Collector] = ()) -> None:
        self._registry = registry = CollectorRegistry()
        for collector in collectors:
            registry.register(collector)
        self._most = settings.metrics_advertisers
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "tribid_http_requests", "Requests answered; status 499 hung up.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "tribid_http_request_seconds", "From a request's first byte to its answer.", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._stages = Histogram(
            "tribid_stage_seconds", f"Stages of one rank call in {settings.stage_sample}.", ["stage"],
            buckets=_STAGE_SECONDS, registry=registry,
        )  # fmt: skip
        self._events = Counter("tribid_events", "Events by what became of them.", ["status"], registry=registry)
        self._charged = Counter("tribid_charged_micros", "What events cost, in micros.", registry=registry)
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def watch(self, live: LiveRanker, slots: OpenTime | None = None) -> None:
        """Report this ranker's state, too, and what became of the slots of mails, if there are any."""
        self._registry.register(_LiveCollector(live, self._most))
        if slots is not None:
            self._registry.register(_SlotsCollector(slots))

    def see_request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        found = self._children.get((route, status))
        if found is None:
            found = (self._requests.labels(route, str(status)), self._seconds.labels(route))
            self._children[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def see_stages(self, decision: Decision) -> None:
        """A decision told how long its stages took."""
        for stage, took_ms in decision.stage_ms.items():
            self._stages.labels(stage).observe(took_ms / 1e3)

    def see_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Events were told."""
        for status, count in Tally(receipt.status for receipt in receipts).items():
            self._events.labels(status).inc(count)
        self._charged.inc(sum(receipt.charged_micros for receipt in receipts))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _LiveCollector(Collector):
    """The ranker's state as metrics, made when they are asked for."""

    def __init__(self, live: LiveRanker, most: int) -> None:
        self._live, self._most = live, most

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would otherwise read the ranker only to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The state's numbers, the advertisers' money, and which policies do what."""
        state = self._live.state()
        for name, told, now in (
            ("tribid_day", "The day that is open.", state.day),
            ("tribid_tick", "The tick of the day.", state.tick),
        ):
            yield GaugeMetricFamily(name, told, now)
        for name, told, count in (
            ("tribid_decisions", "Pages decided.", state.decided),
            ("tribid_slots_sold", "Slots that somebody won.", state.slots_sold),
            ("tribid_refused_reservations", "Reservations that the ledger refused.", state.refused_reserves),
            ("tribid_unlogged_decisions", "Decisions that the log failed to take.", state.unlogged),
        ):
            yield CounterMetricFamily(name, told, count)
        fallbacks = CounterMetricFamily(
            "tribid_fallbacks", "Stages that gave way, and to what.", labels=["stage", "to"]
        )
        for name, times in state.fallbacks.items():
            stage, _, to = name.partition(":")
            fallbacks.add_metric([stage, to], times)
        yield fallbacks
        yield from self._money(state)
        yield from self._policies(state)

    def _money(self, state: LiveState) -> Iterator[Metric]:
        """Free, held and spent micros of the open day: the sums, and each advertiser's where there are few."""
        sums = GaugeMetricFamily("tribid_money_micros", "All advertisers' money of the open day.", labels=["account"])
        for account in _MONEY:
            balances = state.advertisers.values()
            sums.add_metric([account], sum(getattr(balance, f"{account}_micros") for balance in balances))
        yield sums
        if len(state.advertisers) > self._most:
            return
        told = "An advertiser's money of the open day."
        each = GaugeMetricFamily("tribid_advertiser_micros", told, labels=["advertiser", "account"])
        for name, balance in state.advertisers.items():
            for account in _MONEY:
                each.add_metric([name, account], getattr(balance, f"{account}_micros"))
        yield each

    def _policies(self, state: LiveState) -> Iterator[Metric]:
        """What each release is used for, as shares of the users, and how often its policy failed to bid."""
        plan = self._live.policies()
        yield InfoMetricFamily("tribid_policy", "The active release.", {"release": state.policy})
        shares = GaugeMetricFamily(
            "tribid_release_share", "Share of the users a release decides for.", labels=["release"]
        )
        shares.add_metric([plan.active], 1.0 - sum(plan.split.values()) / 100.0)
        for name, percent in plan.split.items():
            shares.add_metric([name], percent / 100.0)
        yield shares
        shadows = GaugeMetricFamily("tribid_release_shadow", "Whether a release decides in shadow.", labels=["release"])
        failed = CounterMetricFamily("tribid_failed_refreshes", "Ticks a policy failed to bid in.", labels=["release"])
        for release in plan.releases:
            shadows.add_metric([release.name], float(release.name in plan.shadow))
        for name, times in state.failed_refreshes.items():
            failed.add_metric([name], times)
        yield shadows
        yield failed


class _SlotsCollector(Collector):
    """What became of mails' slots and their clicks, read when it is asked for."""

    def __init__(self, slots: OpenTime) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        """One counter of every outcome, from 0: ``fallback.sold out`` is ``outcome="fallback_sold_out"``."""
        ended = CounterMetricFamily("tribid_mail_slots", "Mails' slots and clicks by what became.", labels=["outcome"])
        for outcome in dict.fromkeys((*OUTCOMES, *self._slots.counts)):
            ended.add_metric([outcome.replace(".", "_").replace(" ", "_")], self._slots.counts[outcome])
        yield ended
