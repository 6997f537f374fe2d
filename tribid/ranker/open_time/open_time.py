"""``OpenTime``: fills a slot when its mail is opened, and leads its click to what it showed.

**Sold out.** An answer's last look at the stock comes directly before its bytes are handed to the server, with nothing
awaited in between. An item whose count was zero, or became it by an update that had returned before that look, is not in
the answer. So no request that begins after the update shows it, and none that was under way and looks after it either.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Literal

from tribid.ranker.open_time.allowance import Allowance
from tribid.ranker.open_time.card import Card, Painter, card_of
from tribid.ranker.open_time.choices import Choice, Choices
from tribid.ranker.open_time.events import Recorder, SlotEvent, slot_event
from tribid.ranker.open_time.pickers import PopularityBuckets, SlotPicker
from tribid.ranker.open_time.settings import OpenTimeSettings
from tribid.ranker.open_time.studio import Studio
from tribid.ranker.open_time.tokens import ExpiredError, ForgedError, Purpose, Signer, Slot
from tribid.ranker.stock.stock import LiveStock

OUTCOMES = (
    "drawn", "fallback.late", "fallback.error", "fallback.sold out", "fallback.changed", "picker failed", "open.untold",
    "click.counted", "click.nothing", "click.untold", "refused.forged", "refused.expired", "refused.used up",
    "refused.too fast",
)  # fmt: skip
"""What ``OpenTime.counts`` counts. ``fallback.changed`` was drawn, too: its item changed before the answer went out."""

_TRIES = 4  # an item that changes while it is drawn is drawn again
_LOOK_EVERY = 256
_CLICK_S = 0.25
_TELL_S = 2.0
_MAX_TELLING = 1_000
_log = logging.getLogger("tribid.ranker.open_time")


class RefusedError(Exception):
    """A token that is not taken: 403 forged, 410 over or used up, 429 too fast (then ``wait_s`` says until when)."""

    def __init__(self, status: Literal[403, 410, 429], why: str, wait_s: int = 0) -> None:
        super().__init__(why)
        self.status, self.wait_s = status, wait_s


class Opened:
    """A filled slot. ``card`` is what its picture shows, None for the fallback."""

    def __init__(self, home: "OpenTime", picture: bytes, card: Card | None) -> None:
        self._home, self.picture, self.card = home, picture, card

    def content(self) -> bytes:
        """The picture as of this moment: the fallback, where the item has since sold out or changed."""
        if self.card is None or self._home.shows(self.card):
            return self.picture
        self._home.counts["fallback.changed"] += 1
        return self._home.fallback


class OpenTime:
    """Slots of one stock. Use it from one event loop; the stock may be changed from anywhere.

    ``picker`` is asked first; where it fails or takes half of the time, ``buckets`` choose. ``record`` is told of openings
    and clicks. ``counts`` is how many slots and clicks ended how, by ``OUTCOMES``.
    """

    def __init__(
        self,
        stock: LiveStock,
        signer: Signer,
        *,
        buckets: PopularityBuckets | None = None,
        picker: SlotPicker | None = None,
        painter: Painter | None = None,
        studio: Studio | None = None,
        choices: Choices | None = None,
        record: Recorder | None = None,
        settings: OpenTimeSettings | None = None,
    ) -> None:
        self.settings = settings = OpenTimeSettings() if settings is None else settings
        painter = Painter() if painter is None else painter
        self.fallback = painter.fallback()
        self.stock, self.signer, self.counts = stock, signer, Counter[str]()
        self.choices = Choices(identity=stock.identity) if choices is None else choices
        self._buckets = PopularityBuckets(stock) if buckets is None else buckets
        self._picker = self._buckets if picker is None else picker
        self._studio = Studio(painter.draw) if studio is None else studio
        self._record = record
        self._telling: dict[str, asyncio.Task[bool]] = {}
        self._uses = {
            "open": Allowance(per_minute=settings.opens_per_minute, in_all=settings.opens),
            "click": Allowance(per_minute=settings.clicks_per_minute, in_all=settings.clicks),
        }

    async def open(self, token: str, began_s: float | None = None) -> Opened:
        """Fill the slot of an image token; ``began_s`` is when it was asked for, by the settings' ``clock_s``.

        ``RefusedError`` for a token that is not taken; everything else that goes wrong gives the fallback.
        """
        began_s = self.settings.clock_s() if began_s is None else began_s
        slot = self._admitted("open", token)
        deadline_s = began_s + self.settings.budget_ms / 1e3
        try:
            async with asyncio.timeout(deadline_s - self.settings.clock_s()):
                return await self._opened(slot, deadline_s)
        except TimeoutError:
            self.counts["fallback.late"] += 1
        except Exception as error:
            self.counts["fallback.error"] += 1
            _log.error("%s while filling a slot", type(error).__name__)
        return Opened(self, self.fallback, None)

    async def click(self, token: str, *, counts: bool = True) -> str:
        """Where a click token leads: to the item that its slot showed last. ``counts`` says whether to record it.

        A slot that was never opened, as where mails are read without images, is filled now. Each item's click is recorded
        once. ``RefusedError`` for a token that is not taken.
        """
        slot = self._admitted("click", token)
        choice = self.choices.of(slot)
        if choice is None:
            choice = await self._first_choice(slot)
            if choice is None:
                self.counts["click.nothing"] += 1
                return self.settings.shop_url
        item = choice.item
        if counts and item not in choice.clicked:
            await self._count_click(slot, choice, item)
        return self.stock.item(item).url

    def shows(self, card: Card) -> bool:
        """Whether a card is of an item that can be had and shows it as it stands."""
        item = self.stock.item(card.item)
        return item.count > 0 and card_of(card.item, item, self.settings.currency) == card

    def warm(self, items: int) -> None:
        """Draw the buckets' first items ahead, for the openings that come first."""
        for number in islice(self._buckets.ranked(0), items):
            self._studio.keep(card_of(number, self.stock.item(number), self.settings.currency))

    async def close(self) -> None:
        """Tell what is left to tell, and let threads and journal go."""
        if self._telling:
            await asyncio.wait(list(self._telling.values()), timeout=_TELL_S)
        self._studio.close()
        self.choices.close()

    def _admitted(self, purpose: Purpose, token: str) -> Slot:
        try:
            slot = self.signer.read(purpose, token, self._now())
        except ForgedError:
            self.counts["refused.forged"] += 1
            raise RefusedError(403, "forged") from None
        except ExpiredError:
            self.counts["refused.expired"] += 1
            raise RefusedError(410, "expired") from None
        name = hashlib.blake2b(token.encode("ascii"), digest_size=16).digest()
        verdict, wait_s = self._uses[purpose].use(name, self._now())
        if verdict != "allowed":
            self.counts[f"refused.{verdict}"] += 1
            raise RefusedError(410 if verdict == "used up" else 429, verdict, wait_s)
        return slot

    async def _opened(self, slot: Slot, deadline_s: float) -> Opened:
        for _ in range(_TRIES):
            before = self.choices.of(slot)
            number = await self._item(slot, deadline_s)
            if number is None:
                self.counts["fallback.sold out"] += 1
                return Opened(self, self.fallback, None)
            if self.choices.of(slot) is not before and self._record is not None and len(self._telling) < _MAX_TELLING:
                self._tell(slot_event("open", slot, number, self._now()))
            card = card_of(number, self.stock.item(number), self.settings.currency)
            picture = await self._studio.picture(card)
            if self.settings.clock_s() > deadline_s:
                raise TimeoutError
            if self.shows(card):
                self.counts["drawn"] += 1
                return Opened(self, picture, card)
        raise TimeoutError

    async def _item(self, slot: Slot, deadline_s: float) -> int | None:
        """The item that a slot shows now, chosen if need be; None where nothing can be had."""
        choice = self._standing(slot)
        if choice is not None:
            return choice.item
        return self._chosen(slot, await self._ranked(slot, deadline_s), deadline_s)

    def _standing(self, slot: Slot) -> Choice | None:
        """The slot's choice, while it is to stay and can be had."""
        choice = self.choices.of(slot)
        if choice is None or self._now() >= choice.shown_ms + self.settings.same_ms:
            return None
        return choice if self.stock.is_available(choice.item) else None

    async def _ranked(self, slot: Slot, deadline_s: float) -> Iterable[int]:
        if self._picker is not self._buckets:
            try:
                async with asyncio.timeout((deadline_s - self.settings.clock_s()) / 2):
                    return await self._picker.pick(slot.user, slot.slot, self._now())
            except Exception as error:
                self.counts["picker failed"] += 1
                _log.warning("%s while picking; the default picks", type(error).__name__)
        return self._buckets.ranked(slot.slot)

    def _chosen(self, slot: Slot, ranked: Iterable[int], deadline_s: float) -> int | None:
        """Choose and remember the first that can be had; one that the mail shows elsewhere only where there is no other."""
        standing = self._standing(slot)  # another opening may have chosen while this one waited for its picker
        if standing is not None:
            return standing.item
        elsewhere, found = self.choices.elsewhere(slot), None
        for place, item in enumerate(ranked):
            if place % _LOOK_EVERY == _LOOK_EVERY - 1 and self.settings.clock_s() > deadline_s:
                raise TimeoutError
            if self.stock.is_available(item):
                found = item if found is None or item not in elsewhere else found
                if item not in elsewhere:
                    break
        if found is not None:
            self.choices.show(slot, found, self._now())
        return found

    async def _first_choice(self, slot: Slot) -> Choice | None:
        deadline_s = self.settings.clock_s() + _CLICK_S
        try:
            async with asyncio.timeout(_CLICK_S):
                await self._item(slot, deadline_s)
        except Exception as error:  # a click is led on whatever happens
            _log.warning("%s while choosing for a click", type(error).__name__)
        return self.choices.of(slot)

    async def _count_click(self, slot: Slot, choice: Choice, item: int) -> None:
        told = await self._told(slot_event("click", slot, item, self._now()))
        if not told or item in choice.clicked:  # another click of the same was counted meanwhile
            return
        self.counts["click.counted"] += 1
        try:
            self.choices.click(slot, item, self._now())
        except OSError as error:
            _log.error("%s while remembering a click", type(error).__name__)

    async def _told(self, event: SlotEvent) -> bool:
        """Whether an event is recorded; a telling that is under way is waited for, not begun again."""
        if self._record is None:
            return True
        try:
            async with asyncio.timeout(_CLICK_S):
                return await asyncio.shield(self._tell(event))
        except TimeoutError:
            return False

    def _tell(self, event: SlotEvent) -> "asyncio.Task[bool]":
        task = self._telling.get(event.id)
        if task is None:
            task = self._telling[event.id] = asyncio.create_task(self._recorded(event))
            task.add_done_callback(lambda _: self._telling.pop(event.id, None))
        return task

    async def _recorded(self, event: SlotEvent) -> bool:
        assert self._record is not None
        try:
            await self._record(event)
        except Exception as error:
            self.counts[f"{event.kind}.untold"] += 1
            _log.error("%s while recording a slot's %s", type(error).__name__, event.kind)
            return False
        return True

    def _now(self) -> int:
        return self.settings.now_ms()
