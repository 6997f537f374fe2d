"""Answers: the decision that a caller gets, with a reason for each price, and the record that the log gets."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.scenario import Scenario
from tribid.envs.sequential.contents import CONTENTS
from tribid.ranker.auction import Priced
from tribid.ranker.decided import Decided
from tribid.ranker.messages import Decision, Slot
from tribid.ranker.page import Page
from tribid.ranker.scenes import first_scene, rules_by_scene


class Choice(NamedTuple):
    """What one policy made of a page: ``policy`` is ``"NAME@VERSION"``, ``multipliers`` [N] those that were bid with."""

    policy: str
    priced: Priced
    multipliers: NDArray[np.float64]
    fallbacks: tuple[str, ...]


class Answers:
    """Makes the answers of one scenario; ``has_creatives`` where decisions say which creative to show."""

    def __init__(self, scenario: Scenario, names: tuple[str, ...], seed: int, *, has_creatives: bool) -> None:
        self._rules, self._names, self._seed, self._has_creatives = scenario.rules, names, seed, has_creatives
        self._hash, self._first_scene = scenario.hash, first_scene(scenario)
        self._slots = {scene: len(rules.slot_effects) for scene, rules in rules_by_scene(scenario).items()}

    def decision(self, page: Page, choice: Choice, explain: bool = False) -> Decision:
        """What the caller gets."""
        priced, names = choice.priced, self._names
        assert page.predicted is not None
        ctr, cvr = page.predicted.ctr[0], page.predicted.cvr[0]
        slots = []
        for k, (ad, place) in enumerate(zip(priced.ads, priced.places, strict=True)):
            below = priced.ads[k + 1] if k + 1 < len(priced.ads) else priced.runner_up
            slots.append(
                Slot(
                    slot=k,
                    ad=ad,
                    advertiser=names[ad],
                    bid_micros=priced.own_bid_micros[k],
                    price_micros=priced.price_micros[k],
                    pctr=float(ctr[place]),
                    pcvr=float(cvr[place]),
                    multiplier=float(choice.multipliers[place]),
                    score=priced.score[k],
                    creative=self._creative(page, place),
                    content=None if page.content is None else CONTENTS[page.content[0, place]],
                    why=self._why(priced.price_micros[k], below, page.reserve_micros),
                )
            )
        return Decision(
            id=page.id, request=page.request.request, day=page.day, tick=page.tick, scenario=self._hash,
            policy=choice.policy, slots=tuple(slots), fallbacks=(*page.fallbacks, *choice.fallbacks),
            stage_ms=dict(page.stage_ms) if explain else {},
        )  # fmt: skip

    def decided(
        self, page: Page, choice: Choice, *, arm: str, time_ms: int, left_micros: NDArray[np.int64],
        propensity: NDArray[np.float32],
    ) -> Decided:  # fmt: skip
        """What the log gets; ``choice`` holds every candidate's bid. All arrays are its own."""
        bid_micros = choice.priced.bid_micros
        assert page.predicted is not None and bid_micros is not None
        priced, scene = choice.priced, page.request.scene or self._first_scene
        ads = np.arange(len(self._names), dtype=np.int32) if page.found.ads is None else page.found.ads[0].copy()
        belief = page.belief.buying
        empty = self._slots[scene] - len(priced.ads)
        return Decided(
            id=page.id, time_ms=time_ms, day=page.day, tick=page.tick, request=page.request.request, user=page.user,
            scenario=self._hash, seed=self._seed, release=choice.policy, arm=arm, segment=page.segment,
            reserve_micros=page.reserve_micros, buying=float("nan") if belief is None else float(belief[0]),
            ads=ads,
            pctr=page.predicted.ctr[0].copy(),
            pcvr=page.predicted.cvr[0].copy(),
            creative=np.full(len(ads), -1, np.int8) if page.creative is None else page.creative[0].copy(),
            multiplier=np.array(choice.multipliers),
            left_micros=left_micros[ads],
            bid_micros=bid_micros,
            propensity=propensity,
            winner=np.array(priced.ads + [-1] * empty, np.int64),
            price_micros=np.array(priced.price_micros + [0] * empty, np.int64),
            score=np.array(priced.score + [0.0] * empty),
            runner_up=priced.runner_up,
            runner_up_score=priced.runner_up_score,
            fallbacks=(*page.fallbacks, *choice.fallbacks),
            stage_ms=dict(page.stage_ms),
            scene=scene,
        )  # fmt: skip

    def _creative(self, page: Page, place: int) -> int | None:
        """Which creative the ad is shown with: in a shop that which its platform picked, or the first."""
        if not self._has_creatives:
            return None
        return 0 if page.creative is None else int(page.creative[0, place])

    def _why(self, price: int, below: int, reserve: int) -> str:
        auction = self._rules.auction
        if auction == "first_price":
            return "pays its own bid (first price)"
        if price == reserve:
            return "priced by the reserve" + ("" if below < 0 else f"; candidate {below}'s score asks for no more")
        if auction == "vcg":
            return "priced by what its presence costs the candidates below it (VCG)"
        return f"priced by candidate {below}'s score"
