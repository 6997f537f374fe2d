"""Who is a candidate where: advertisers on shelves, what their bids are made of there, and the caps on them."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.envs.advertisers import Advertisers
from tribid.envs.platform import Requests

EVERYBODY = np.zeros((0, 0), np.int32)
"""No shelves of candidates: every advertiser is one, in their order."""
NOBODY = -1
"""A place on a shelf that stays empty: it bids nothing, wins nothing and is told nothing."""


class Places(NamedTuple):
    """Who is a candidate where: G shelves of N places each; every request's candidates are those of its shelf.

    ``who`` [G, N] are the advertisers (empty: all of them, on one shelf, in their order). What decides a bid, float64
    [G, N]: ``click`` and ``per_pcvr`` (micros), ``mean_pcvr``, ``value`` of a conversion (micros), ``opted`` (1.0 or 0.0);
    see ``Advertisers``. ``cap_micros`` [A] is the most that a bid may be. Advertiser i stands on the places
    ``place[first[i] : first[i + 1]]``, counted through all shelves.
    """

    who: NDArray[np.int32]
    click: NDArray[np.float64]
    per_pcvr: NDArray[np.float64]
    mean_pcvr: NDArray[np.float64]
    value: NDArray[np.float64]
    opted: NDArray[np.float64]
    cap_micros: NDArray[np.int64]
    first: NDArray[np.int64]
    place: NDArray[np.int64]


def places_of(advertisers: Advertisers, who: NDArray[np.int32] = EVERYBODY) -> Places:
    """The advertisers on shelves ``who`` [G, N] (``NOBODY`` where a place is empty), or all on one."""
    shelf = who if len(who) else np.arange(len(advertisers), dtype=np.int32)[None]
    order = np.argsort(shelf, axis=None, kind="stable")
    taken = shelf >= 0
    return Places(
        who=who,
        click=np.where(taken, advertisers.bid_per_click[shelf], 0.0),
        per_pcvr=np.where(taken, advertisers.bid_per_pcvr[shelf], 0.0),
        mean_pcvr=advertisers.mean_pcvr[shelf],
        value=advertisers.price_micros[shelf].astype(np.float64),
        opted=np.where(taken, advertisers.opted_in[shelf], False).astype(np.float64),
        cap_micros=advertisers.cap_micros,
        first=np.searchsorted(shelf.ravel()[order], np.arange(len(advertisers) + 1)),
        place=order,
    )


def multipliers_on(places: Places, multiplier: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multipliers [..., S, A] where their advertisers stand, [..., S, G, N]."""
    if len(places.who):
        return np.ascontiguousarray(multiplier[..., places.who])
    return np.ascontiguousarray(multiplier)[..., None, :]


def places_of_requests(advertisers: Advertisers, requests: Requests) -> tuple[Places, NDArray[np.int64]]:
    """Places for requests that bring their own candidates, a shelf each, and every request's shelf [B]."""
    if requests.candidates is None:
        return everybodys_places(advertisers), np.zeros(len(requests.request), np.int64)
    who, most = requests.candidates, len(advertisers) - 1
    in_order = np.sort(who, axis=1)
    bad = (in_order < NOBODY) | (in_order > most)
    bad[:, 1:] |= (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NOBODY)
    if bad.any():
        row, place = np.argwhere(bad)[0]
        raise ValueError(
            f"candidates of row {row} hold {in_order[row, place]}; allowed are advertisers 0 to {most}, each once, and "
            f"{NOBODY} for a place that stays empty"
        )
    return places_of(advertisers, who), np.arange(len(requests.request))


def everybodys_places(advertisers: Advertisers) -> Places:
    """The one shelf with all advertisers, made once."""
    kept: Places | None = advertisers.__dict__.get("_places")
    if kept is None:
        kept = places_of(advertisers)
        object.__setattr__(advertisers, "_places", kept)
    return kept


@njit(cache=True, error_model="numpy", forceinline=True)
def advertiser(who: Any, shelf: Any, r: Any, place: Any) -> Any:
    """The advertiser at a place of request r's candidates; -1 for place -1."""
    if who.shape[0] == 0 or place < 0:
        return np.int64(place)
    return np.int64(who[shelf[r], place])


@njit(cache=True, error_model="numpy")
def fill_caps(places: Places, left: Any, cap: Any) -> None:
    """The most that may be bid on each place, ``cap`` [G, N] float64 micros: the advertiser's own limit and what is left."""
    for i in range(left.shape[0]):
        set_cap(places, left, i, cap)


@njit(cache=True, error_model="numpy", forceinline=True)
def set_cap(places: Places, left: Any, i: Any, cap: Any) -> None:
    """``fill_caps`` for one advertiser."""
    most = np.float64(max(np.int64(0), min(places.cap_micros[i], left[i])))
    for p in range(places.first[i], places.first[i + 1]):
        cap[places.place[p] // cap.shape[1], places.place[p] % cap.shape[1]] = most
