"""What was shown, as flat arrays: what off-policy evaluation needs of the log, beside the rewards that events bring."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.ranker.decision_log.files import LogReader


class Shown(NamedTuple):
    """M ads that won slots on ``pages`` answered pages, in the order of the log.

    ``id`` [M] and ``slot`` [M] name the slot as events do, ``ad`` [M] is the advertiser. ``propensity`` [M] is the chance,
    over the split of users among releases, that the ad was on its page, and ``chosen`` [M] is 1.0 where the target release
    would have shown it on that page, too, in whatever slot, and 0.0 where not.
    """

    pages: int
    id: NDArray[np.str_]
    slot: NDArray[np.int64]
    ad: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    score: NDArray[np.float64]
    pctr: NDArray[np.float32]
    pcvr: NDArray[np.float32]
    propensity: NDArray[np.float32]
    chosen: NDArray[np.float64]


def shown(path: str | Path, target: str | None = None) -> Shown:
    """The ads that were shown, of a folder or a file of the log.

    ``target`` is a release, by name or ``NAME@VERSION``, that decided in shadow: only pages that it decided count then.
    With ``rewards`` [M] of the same slots, ``sum(rewards * chosen / propensity) / pages`` estimates what a page would have
    brought under it (inverse propensity scoring); ``tribid.evaluation.off_policy`` has this and other estimators. That
    holds where the releases that answered show, between them, what the target would, and where an ad's reward depends
    neither on its slot nor on the ads beside it. Without ``target`` every ad is ``chosen``.

    A page that was logged twice counts once. Raises as ``LogReader``, and ``ValueError`` where the target decided nothing in
    shadow.
    """
    reader = LogReader(path)
    wanted = None if target is None else _shadow_pages(reader, target)
    told: dict[str, list[tuple[int, int, int, float, float, float, float, float]]] = {}
    for logged in reader:
        d = logged.decided
        if d.arm == "shadow" or d.id in told or (wanted is not None and d.id not in wanted):
            continue
        place = {ad: i for i, ad in enumerate(d.ads.tolist())}
        told[d.id] = [
            (
                slot, ad, price, score, d.pctr[place[ad]], d.pcvr[place[ad]], d.propensity[place[ad]],
                float(wanted is None or ad in wanted[d.id]),
            )
            for slot, (ad, price, score) in enumerate(
                zip(d.winner.tolist(), d.price_micros.tolist(), d.score.tolist(), strict=True)
            )
            if ad >= 0
        ]  # fmt: skip
    ids = [page for page, ads in told.items() for _ in ads]
    columns = list(zip(*(row for ads in told.values() for row in ads), strict=True)) or [()] * 8
    types = (np.int64, np.int64, np.int64, np.float64, np.float32, np.float32, np.float32, np.float64)
    arrays = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return Shown(len(told), np.array(ids, np.str_), *arrays)


def _shadow_pages(reader: LogReader, target: str) -> dict[str, frozenset[int]]:
    """The winners of each page that a release decided in shadow."""
    found, releases = {}, set()
    for logged in reader:
        d = logged.decided
        if d.arm == "shadow":
            releases.add(d.release)
            if target in (d.release, d.release.partition("@")[0]):
                found[d.id] = frozenset(d.winner.tolist()) - {-1}
    if not found:
        told = f"those in shadow, {', '.join(sorted(releases))}" if releases else "none: nothing was decided in shadow"
        raise ValueError(f"target is {target!r}; allowed is {told}")
    return found
