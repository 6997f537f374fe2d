"""``LivePages``: one page after another is decided, reserved and, where its outcome is told, settled."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tribid.ranker.answer import Answers, Choice
from tribid.ranker.answered import Answer, Conflict
from tribid.ranker.decided import Decided
from tribid.ranker.ledger.errors import HoldExistsError
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Ledger, Refused
from tribid.ranker.live_books import LiveBooks
from tribid.ranker.live_events import own_event_id
from tribid.ranker.messages import Outcome, Request
from tribid.ranker.page import Page
from tribid.ranker.pipeline import Pipeline
from tribid.ranker.releases import Arm, Release, Releases
from tribid.ranker.time_budget import TimeBudget

Kind = Literal["impression", "click", "conversion"]
_KINDS: tuple[Kind, ...] = ("impression", "click", "conversion")
_TRIES = 3
_logger = logging.getLogger("tribid.ranker")
STALE = "bid:last_multipliers"
"""The fallback of a release whose policy failed at this tick: the multipliers of the tick before."""


class LivePages:
    """Decides pages against the ledger's free money.

    Between reading that money and the ledger's setting it aside nothing else runs: a page never promises what another has
    promised. A page has ``slots``; ``paid`` is the kind of event that costs a slot's price. A ledger that several processes
    share may refuse; then the page is decided again with what is really free, and after three refusals those who were
    refused sit it out.
    """

    def __init__(
        self, pipeline: Pipeline, answers: Answers, ledger: Ledger, releases: Releases, books: LiveBooks, *,
        slots: int, paid: Kind, timeout_ms: float | None, log: Callable[[Decided], None] | None,
    ) -> None:  # fmt: skip
        self._pipeline, self._answers, self._ledger = pipeline, answers, ledger
        self._releases, self._books, self._slots = releases, books, slots
        self._paid: Kind = paid
        self._timeout_ms, self._log = timeout_ms, log
        self.decided = self.slots_sold = self.refused_reserves = self.unlogged = 0

    async def decide(
        self, answer: Answer, request: Request, day: int, tick: int, time_ms: int, explain: bool = False
    ) -> None:
        """Decide, reserve and count a page; ``answer`` has its decision and holds before the ledger is waited for."""
        timeout_ms = self._timeout_ms if request.timeout_ms is None else request.timeout_ms
        budget = TimeBudget(timeout_ms, self._pipeline.clock)
        page = self._pipeline.prepare(request, day, tick, budget)
        release, arm = self._releases.arm_of(page.user if page.user >= 0 else request.request)
        sits_out: list[int] = []
        for tries in count(1):
            left = self._ledger.free_micros()
            left[sits_out] = 0
            choice = self._choose(page, release, left, budget, observes=tries == 1)
            answer.decision = self._answers.decision(page, choice, explain)
            answer.holds = self._holds(page, choice, answer.expires_ms)
            answer.book = partial(self._book, choice, self._records(page, release, arm, choice, left, time_ms))
            refused = await self._reserve(page.id, answer)
            if refused is None:
                break
            self.refused_reserves += 1
            if tries >= _TRIES:
                sits_out.append(refused.ad)
        await self._acknowledge(answer, request, time_ms)

    async def reserve_again(self, answer: Answer, request: Request, time_ms: int) -> bool:
        """Go on with a page whose request was given up while the ledger was writing; False where the ledger refuses it."""
        assert answer.decision is not None
        if await self._reserve(answer.decision.id, answer) is not None:
            return False
        await self._acknowledge(answer, request, time_ms)
        return True

    async def _reserve(self, page: str, answer: Answer) -> Refused | None:
        """Set the page's money aside; ``Conflict`` where the ledger remembers that it came to other holds before.

        A page that held nothing leaves nothing there: asked again after a restart, it is decided anew.
        """
        holds = answer.holds
        if len(holds) < self._slots:
            held = {hold.id for hold in holds}
            empty = [name for k in range(self._slots) if (name := f"{page}.{k}") not in held]
            if known := await self._ledger.known(empty):
                raise Conflict(
                    f"page {page} was answered before, and otherwise: it held money as {known[0]}, and now would not"
                )
        try:
            return await self._ledger.reserve(holds) if holds else None
        except HoldExistsError as error:
            raise Conflict(f"page {page} was answered before, and otherwise: {error}") from error

    async def _acknowledge(self, answer: Answer, request: Request, time_ms: int) -> None:
        """The ledger holds the page's money: settle it where its outcome is told, and count it once."""
        outcome = None if answer.is_settled else request.outcome
        if outcome is not None and answer.holds:
            kind = self._paid
            told = [Charge(own_event_id(kind, hold.id), kind, hold.id, time_ms) for hold in answer.holds]
            for charge, charged in zip(told, await self._ledger.charge(told), strict=True):
                _check_charged(charge, charged)
        if answer.book is not None:
            book, answer.book = answer.book, None
            book()
        if outcome is None:
            return
        answer.is_settled = True
        assert answer.decision is not None
        for kind in _KINDS:
            for slot, happened in zip(answer.decision.slots, _told(outcome, kind), strict=False):
                if happened:
                    self._books.happened(slot.ad, kind)

    def _book(self, choice: Choice, records: Sequence[Decided]) -> None:
        self.decided += 1
        self.slots_sold += len(choice.priced.ads)
        self._books.shown(choice.priced)
        for record in records:
            self._tell(record)

    def _tell(self, record: Decided) -> None:
        """Log a record; the page's money is held by now, so a log that fails must not take the answer with it."""
        assert self._log is not None
        try:
            self._log(record)
        except Exception:
            if not self.unlogged:
                _logger.exception("the decision log failed; decisions go on unlogged and are counted")
            self.unlogged += 1

    def _choose(
        self, page: Page, release: Release, left: NDArray[np.int64], budget: TimeBudget, observes: bool = False
    ) -> Choice:
        seen = self._books.seen(page) if observes else None
        priced, own, fell = self._pipeline.decide(
            page, release.multipliers, left, budget, seen, every_bid=self._log is not None
        )
        if observes:
            self._books.told(page)
        if release.is_stale and not fell:
            fell = (STALE,)
            self._pipeline.fallbacks[STALE] += 1
        return Choice(release.label, priced, own, fell)

    def _holds(self, page: Page, choice: Choice, expires_ms: int) -> tuple[Hold, ...]:
        """What the page can cost; of one whose outcome is told, what it does cost."""
        outcome, priced = page.request.outcome, choice.priced
        paid = _told(outcome, self._paid) if outcome is not None else (True,) * len(priced.ads)
        return tuple(
            Hold(f"{page.id}.{k}", ad, price, expires_ms)
            for k, (ad, price, is_paid) in enumerate(zip(priced.ads, priced.price_micros, paid, strict=False))
            if is_paid
        )

    def _records(
        self, page: Page, release: Release, arm: Arm, choice: Choice, left: NDArray[np.int64], time_ms: int
    ) -> list[Decided]:
        """What the log is told: the decision, and those of the releases in shadow, as of now and without haste."""
        if self._log is None:
            return []
        assert page.predicted is not None
        ample, took = TimeBudget(None, self._pipeline.clock), dict(page.stage_ms)
        propensity = np.zeros(page.predicted.ctr.shape[1], np.float32)
        for other, share in self._releases.shares():
            priced = choice.priced if other is release else self._choose(page, other, left, ample).priced
            propensity[priced.places] += np.float32(share)
        shadows = [self._choose(page, self._releases.all[name], left, ample) for name in self._releases.plan.shadow]
        page.stage_ms = took  # the other releases' auctions are no part of this answer's
        return [
            self._answers.decided(page, made, arm=why, time_ms=time_ms, left_micros=left, propensity=propensity)
            for made, why in ((choice, arm), *((shadow, "shadow") for shadow in shadows))
        ]


def _check_charged(charge: Charge, charged: Charged) -> None:
    """An outcome counts where it was charged, now or by a try before; ``Conflict`` where its page's time was over."""
    if charged.status == "expired":
        raise Conflict(
            f"hold {charge.hold} was given back before the {charge.kind} that its request tells of was charged"
        )
    if charged.status not in ("accepted", "duplicate"):
        raise RuntimeError(f"the ledger says of the {charge.kind} of hold {charge.hold} that it is {charged.status}")


def _told(outcome: Outcome, kind: Kind) -> tuple[bool, ...]:
    """What an outcome says of the slots; it may say nothing of the last ones."""
    return {"impression": outcome.exposed, "click": outcome.clicked, "conversion": outcome.converted}[kind]
