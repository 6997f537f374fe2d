"""What a request may hold: checks against the scenario, also of what was built in Python and never decoded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.envs.journey.config import Scene
from tribid.envs.platform import Rates
from tribid.envs.visit_events import EVENTS
from tribid.ranker.messages import MAX_CANDIDATES, Offer, Request

_REQUESTS = 2**32
_DAYS = 2**32 - 1
_Offered = tuple[NDArray[np.int32], Rates | None]


class RequestCheck:
    """The limits of one scenario; every refusal is a ``ValueError`` that names the field, its value and what is allowed."""

    def __init__(
        self, names: Sequence[str], *, users: int, ticks: int, segments: int, slots: int, scenes: Sequence[Scene] = (),
        categories: int = 0,
    ) -> None:  # fmt: skip
        self._scenes, self._categories = {scene.name: scene for scene in scenes}, categories
        self.names = tuple(names)
        self.ad_of = {name: ad for ad, name in enumerate(self.names)}
        self._users, self._ticks, self._segments = users, ticks, segments
        own: dict[str | None, int] = {scene.name: len(scene.slot_effects or ()) or slots for scene in scenes}
        first = next((scene.name for scene in scenes if scene.needs == "nothing"), None)
        self._slots = own | {None: own.get(first, slots)}
        self._last: tuple[Sequence[Offer], _Offered] | None = None  # checked last, and not asked for yet

    def __call__(self, request: Request, where: str = "$") -> None:
        """Raise for anything in ``request`` that the scenario does not have; ``where`` begins the field's name."""
        _whole(f"{where}.request", request.request, _REQUESTS)
        for name, value, limit in (
            ("user", request.user, self._users),
            ("tick", request.tick, self._ticks),
            ("day", request.day, _DAYS),
            ("segment", request.segment, self._segments),
        ):
            if value is not None:
                _whole(f"{where}.{name}", value, limit)
        if request.state not in ("browsing", "buying"):
            raise ValueError(f"{where}.state is {request.state!r}; allowed is 'browsing' or 'buying'")
        if request.buying is not None:
            _share(f"{where}.buying", request.buying)
        if request.timeout_ms is not None and not _is_number(request.timeout_ms, 0.0, 60_000.0):
            raise ValueError(f"{where}.timeout_ms is {request.timeout_ms!r}; allowed is above 0 and at most 60000")
        if request.events:
            self._check_events(request, where)
        if request.candidates is not None:
            self._check_offers(request.candidates, where)
        if request.scene is not None or self._scenes or request.marks or request.shown:
            self._check_scene(request, where)
        if request.outcome is not None:
            self._check_outcome(request, where)
        if request.user is None and not brings_rates(request):
            raise ValueError(
                f"{where}.user is missing; allowed is 0 to {self._users - 1}, or none where every candidate brings pctr "
                f"and pcvr"
            )

    def _check_scene(self, request: Request, where: str) -> None:
        if not self._scenes:
            raise ValueError(
                f"{where}.scene, marks or shown was given; allowed is none, for the scenario has no scenes"
            )
        if request.scene is not None and request.scene not in self._scenes:
            raise ValueError(f"{where}.scene is {request.scene!r:.80}; choose {', '.join(self._scenes)}")
        for name in ("category", "bought"):
            if (value := getattr(request, name)) is not None:
                _whole(f"{where}.{name}", value, self._categories)
        for field, limit in (("marks", 32), ("shown", 2**15)):
            for name, value in getattr(request, field).items():
                if name not in self.ad_of:
                    raise ValueError(f"{where}.{field} names {name!r:.220}; allowed are the scenario's advertisers")
                _whole(f"{where}.{field}[{name!r:.80}]", value, limit)
        if request.scene is None or request.candidates is not None:
            return
        rule = self._scenes[request.scene].candidates
        needed = {"cart": "category", "category": "category", "complement": "bought"}.get(rule)
        if needed is not None and getattr(request, needed) is None:
            raise ValueError(f"{where}.{needed} is missing; scene {request.scene!r} needs it to find candidates")

    def offered(self, offers: Sequence[Offer]) -> _Offered:
        """Checked offers as candidates [1, N] and their rates [1, N], where they bring them."""
        last, self._last = self._last, None
        if last is not None and last[0] is offers:
            return last[1]
        ads = np.array([[self.ad_of[offer.advertiser] for offer in offers]], np.int32)
        if offers[0].pctr is None:
            return ads, None
        ctr, cvr = ([list(rates)] for rates in zip(*((o.pctr, o.pcvr) for o in offers), strict=True))
        return ads, Rates(np.array(ctr, np.float32), np.array(cvr, np.float32))

    def _check_offers(self, offers: Sequence[Offer], where: str) -> None:
        if not 0 < len(offers) <= MAX_CANDIDATES:
            raise ValueError(f"{where}.candidates has {len(offers)} entries; allowed is 1 to {MAX_CANDIDATES}")
        read = self._read(offers)
        if read is None:
            self._check_each(offers, where)
        self._last = None if read is None else (offers, read)

    def _read(self, offers: Sequence[Offer]) -> "_Offered | None":
        """What ``offered`` makes of offers that are plainly well, read as columns; None where each must be looked at."""
        found = [self.ad_of.get(offer.advertiser, -1) for offer in offers]
        if -1 in found or len(set(found)) < len(found):
            return None
        ads = np.array([found], np.int32)
        ctr, cvr = [offer.pctr for offer in offers], [offer.pcvr for offer in offers]
        kinds = {*map(type, ctr), *map(type, cvr)}
        if kinds == {type(None)}:
            return ads, None
        if kinds != {float}:
            return None
        rates = np.array([ctr, cvr], np.float64)
        if not (rates.min() >= 0.0 and rates.max() <= 1.0):  # NaN is neither
            return None
        single = rates.astype(np.float32)
        return ads, Rates(single[:1], single[1:])

    def _check_each(self, offers: Sequence[Offer], where: str) -> None:
        first = offers[0].pctr is not None
        seen: set[str] = set()
        for place, offer in enumerate(offers):
            if offer.advertiser not in self.ad_of:
                raise ValueError(
                    f"{where}.candidates[{place}].advertiser is {offer.advertiser!r:.220}; allowed is one of the "
                    f"scenario's {len(self.names)} advertisers, such as {self.names[0]!r}"
                )
            if offer.advertiser in seen:
                raise ValueError(
                    f"{where}.candidates[{place}].advertiser is {offer.advertiser!r} a second time; allowed is once"
                )
            seen.add(offer.advertiser)
            for name in ("pctr", "pcvr"):
                rate = getattr(offer, name)
                if (rate is not None) != first:
                    raise ValueError(
                        f"{where}.candidates[{place}].{name} is {rate}; allowed are both rates of every candidate, or none"
                    )
                if rate is not None:
                    _share(f"{where}.candidates[{place}].{name}", rate)

    def _check_events(self, request: Request, where: str) -> None:
        if len(request.events) > 1_000:
            raise ValueError(f"{where}.events has {len(request.events)} entries; allowed is at most 1000")
        for place, event in enumerate(request.events):
            at = f"{where}.events[{place}]"
            if event.kind not in EVENTS:
                raise ValueError(f"{at}.kind is {event.kind!r:.80}; allowed is {', '.join(EVENTS)}")
            _whole(f"{at}.category", event.category, 2**31)
            if not _is_number(event.seconds, 0.0, 86_400.0, least_allowed=True):
                raise ValueError(f"{at}.seconds is {event.seconds!r}; allowed is 0 to 86400")

    def _check_outcome(self, request: Request, where: str) -> None:
        assert request.outcome is not None
        slots = self._slots[request.scene]
        for name in ("exposed", "clicked", "converted"):
            told = getattr(request.outcome, name)
            if len(told) > slots:
                raise ValueError(
                    f"{where}.outcome.{name} has {len(told)} entries; allowed is one for each of {slots} slots"
                )
            for slot, value in enumerate(told):
                if not isinstance(value, (bool, np.bool_)):
                    raise ValueError(f"{where}.outcome.{name}[{slot}] is {value!r:.80}; allowed is true or false")


def brings_rates(request: Request) -> bool:
    """Whether a checked request's candidates bring their own rates."""
    return bool(request.candidates) and request.candidates[0].pctr is not None  # type: ignore[index]


def _whole(name: str, value: Any, limit: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < limit:
        raise ValueError(f"{name} is {value!r:.80}; allowed is 0 to {limit - 1}")


def _share(name: str, value: Any) -> None:
    if not _is_number(value, 0.0, 1.0, least_allowed=True):
        raise ValueError(f"{name} is {value!r:.80}; allowed is 0 to 1")


def _is_number(value: Any, least: float, most: float, least_allowed: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    return bool(least <= value <= most if least_allowed else least < value <= most)
