"""The advertisers of a market as arrays: what each wants, what it is worth to them, and what they may spend."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.envs.scenario import MICROS, OBJECTIVES, Advertiser, Rules

TARGET_CPA = OBJECTIVES.index("target_cpa")
TARGET_ROAS = OBJECTIVES.index("target_roas")


@dataclass(frozen=True, kw_only=True)
class Advertisers:
    """One row per advertiser; every array is [A].

    ``click_worth`` and ``conversion_worth`` (micros) say what an event is worth to the advertiser under its objective.
    At multiplier 1 the bid of a request is ``bid_per_click + bid_per_pcvr * pcvr`` (micros per click), the optimal bid
    form of USCB (He et al., KDD 2021) with one of the two terms zero. ``mean_pcvr`` is the trimmed mean of recent
    predictions that OCPC compares a request's prediction with.
    """

    names: tuple[str, ...]
    objective: NDArray[np.int64]
    budget_micros: NDArray[np.int64]
    cap_micros: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    target_cpa_micros: NDArray[np.int64]
    target_roas: NDArray[np.float64]
    click_worth: NDArray[np.float64]
    conversion_worth: NDArray[np.float64]
    bid_per_click: NDArray[np.float64]
    bid_per_pcvr: NDArray[np.float64]
    mean_pctr: NDArray[np.float64]
    mean_pcvr: NDArray[np.float64]
    opted_in: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def unit_bid_micros(self) -> NDArray[np.float64]:
        """The mean bid per click at multiplier 1, in micros."""
        return self.bid_per_click + self.bid_per_pcvr * self.mean_pcvr

    def money_value(self, clicks: NDArray[np.float64], conversions: NDArray[np.float64]) -> NDArray[np.float64]:
        """What clicks and conversions [..., A] are worth to their advertisers, in micros."""
        return clicks * self.click_worth + conversions * self.conversion_worth


def advertiser_arrays(
    advertisers: tuple[Advertiser, ...], rules: Rules, mean_pctr: NDArray[np.float64], mean_pcvr: NDArray[np.float64]
) -> Advertisers:
    """Arrays from the scenario's list and the mean predictions [A] of each ad."""
    clicks = np.array([a.objective == "max_clicks" for a in advertisers])
    base = micros([a.base_bid for a in advertisers]).astype(np.float64)
    price = micros([a.price for a in advertisers])
    cpa = micros([a.target_cpa or 0.0 for a in advertisers])
    roas = np.array([a.target_roas or 0.0 for a in advertisers])
    worth = np.where(clicks, 0.0, base / np.maximum(mean_pcvr, 1e-12))
    worth = np.where(cpa > 0, cpa, worth)
    worth = np.where(roas > 0, price / np.maximum(roas, 1e-12), worth)
    by_value = np.array([(a.bid_form or _default_form(a)) == "value" for a in advertisers]) & ~clicks
    return Advertisers(
        names=tuple(a.name for a in advertisers),
        objective=np.array([OBJECTIVES.index(a.objective) for a in advertisers], np.int64),
        budget_micros=micros([a.budget for a in advertisers]),
        cap_micros=np.full(len(advertisers), round(rules.max_bid * MICROS), np.int64),
        price_micros=price,
        target_cpa_micros=cpa,
        target_roas=roas,
        click_worth=np.where(clicks, base, 0.0),
        conversion_worth=worth,
        bid_per_click=np.where(by_value, 0.0, base),
        bid_per_pcvr=np.where(by_value, worth, 0.0),
        mean_pctr=mean_pctr,
        mean_pcvr=mean_pcvr,
        opted_in=np.array([not v if a.ocpc is None else a.ocpc for a, v in zip(advertisers, by_value, strict=True)]),
    )


def micros(amounts: list[float]) -> NDArray[np.int64]:
    """Currency units to integer micros, to the nearest.

    >>> micros([0.05, 12.0]).tolist()
    [50000, 12000000]
    """
    whole: NDArray[np.int64] = np.rint(np.asarray(amounts) * MICROS).astype(np.int64)
    return whole


def _default_form(advertiser: Advertiser) -> str:
    return "value" if advertiser.objective in ("target_cpa", "target_roas") else "flat"
