"""``check_auction``: is this function an auction? For your own mechanism as for the ones shipped here.

    from tribid.auctions.testing import check_auction
    check_auction(my_auction)                        # promises what gsp promises
    check_auction(my_auction, rule="first_price")    # a bidder pays its own bid

An auction is any function of the shape of ``tribid.auctions.gsp``. Each property is checked on seeded random requests,
small whole bids among them so that ties abound, and a failure is an AssertionError that names the property, the
numbers, and the request to repeat it with.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.auctions.mechanisms import Auction
from tribid.auctions.outcome import Outcome
from tribid.auctions.score import quality_weights


@dataclass(frozen=True, eq=False)
class Request:
    """One random request, the arguments of an auction with B = 1."""

    bids: NDArray[np.int64]
    quality: NDArray[np.float64]
    slot_effects: NDArray[np.float64]
    reserve: int
    squash: float
    eligible: NDArray[np.bool_]
    tie_break: NDArray[np.float64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """``quality ** squash`` [N]."""
        return np.asarray(quality_weights(self.quality, self.squash)[0])

    @property
    def score(self) -> NDArray[np.float64]:
        """Score [N]; 0.0 for a candidate that may not take part."""
        score = self.bids[0].astype(np.float64) * self.weight
        return np.where(self.eligible[0] & (self.bids[0] > 0) & (self.bids[0] >= self.reserve), score, 0.0)

    def run(self, auction: Auction) -> Outcome:
        """What ``auction`` decides."""
        return auction(
            self.bids,
            self.quality,
            self.slot_effects,
            reserve_micros=self.reserve,
            squash=self.squash,
            eligible=self.eligible,
            tie_break=self.tie_break,
        )

    def with_bid(self, i: int, bid: int) -> "Request":
        """The same request with one bid changed."""
        bids = self.bids.copy()
        bids[0, i] = bid
        return replace(self, bids=bids)

    def __str__(self) -> str:
        """The numbers, so that a failure can be repeated."""
        return (
            f"bids {self.bids[0].tolist()}, quality {self.quality[0].tolist()}, slot_effects "
            f"{self.slot_effects.tolist()}, reserve {self.reserve}, squash {self.squash}, eligible "
            f"{self.eligible[0].tolist()}, tie_break {self.tie_break[0].tolist()}"
        )


Property = Callable[[Auction, Request], None]


def random_requests(seed: int, cases: int) -> Iterator[Request]:
    """Seeded requests: small and large bids, equal and unequal qualities, reserves, masks, more slots than bidders."""
    rng = np.random.default_rng(seed)
    for _ in range(cases):
        n, slots = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        most = int(rng.choice([4, 30, 5_000_000]))
        quality = rng.choice([0.0, 0.25, 0.5, 1.0], (1, n), p=[0.05, 0.3, 0.3, 0.35])
        yield Request(
            bids=rng.integers(0, most + 1, (1, n)),
            quality=quality if rng.random() < 0.5 else rng.uniform(0.01, 1.0, (1, n)),
            slot_effects=np.sort(rng.uniform(0.05, 1.0, slots))[::-1].copy(),
            reserve=int(rng.choice([0, 1, most // 3])),
            squash=float(rng.choice([1.0, 1.0, 0.5, 0.0])),
            eligible=rng.random((1, n)) < 0.9,
            tie_break=rng.random((1, n)),
        )


def _slots(outcome: Outcome) -> Iterator[tuple[int, int, int, float]]:
    """(slot, winner, price, score) of each filled slot."""
    rows = zip(outcome.winner[0], outcome.price_micros[0], outcome.score[0], strict=True)
    for k, (winner, price, score) in enumerate(rows):
        if winner >= 0:
            yield k, int(winner), int(price), float(score)


def _promise(kept: bool, broken: str, request: Request | str) -> None:
    if not kept:
        raise AssertionError(f"{broken}; the request: {request}")


def individual_rationality(auction: Auction, request: Request) -> None:
    """No click costs more than its bidder bid."""
    for k, i, price, _ in _slots(request.run(auction)):
        bid = int(request.bids[0, i])
        _promise(price <= bid, f"individual rationality: slot {k} costs {price} micros, above the bid {bid}", request)


def price_at_least_reserve(auction: Auction, request: Request) -> None:
    """No click costs less than the reserve."""
    for k, _, price, _ in _slots(request.run(auction)):
        _promise(price >= request.reserve, f"reserve: slot {k} costs {price}, below {request.reserve}", request)


def own_bid_independence(auction: Auction, request: Request) -> None:
    """While the ranking stays as it is, a bidder's own bid does not move its price."""
    before = request.run(auction)
    for k, i, price, _ in _slots(before):
        bid = int(request.bids[0, i])
        for other in {bid - 1, bid + 1, bid + bid // 2 + 1, 2 * bid + 7, (bid + price) // 2}:
            after = request.with_bid(i, max(other, 0)).run(auction)
            same = bool(np.array_equal(after.winner, before.winner))
            paid = int(after.price_micros[0, k])
            message = f"own-bid independence: slot {k} costs {price} at bid {bid} but {paid} at bid {other}"
            _promise(not same or paid == price, message, request)


def price_reaches_next_score(auction: Auction, request: Request) -> None:
    """What a click costs, times the quality weight, is at least the next candidate's score."""
    ranked = np.sort(request.score)[::-1]
    for k, i, price, _ in _slots(request.run(auction)):
        reached = float(price) * float(request.weight[i])
        following = float(ranked[k + 1]) if k + 1 < ranked.size else 0.0
        _promise(
            reached >= following, f"slot {k}: price x weight {reached} is below the next score {following}", request
        )


def critical_bid(auction: Auction, request: Request) -> None:
    """The price is the least bid that keeps the slot: bidding one micro less than the price loses it."""
    before = request.run(auction)
    for k, i, price, _ in _slots(before):
        if price <= 1:
            continue
        after = request.with_bid(i, price - 1).run(auction)
        message = f"critical bid: slot {k} costs {price}, yet a bid of {price - 1} keeps it"
        _promise(int(after.winner[0, k]) != i, message, request)


def pays_own_bid(auction: Auction, request: Request) -> None:
    """First price: a click costs the winner's bid."""
    for k, i, price, _ in _slots(request.run(auction)):
        bid = int(request.bids[0, i])
        _promise(price == bid, f"first price: slot {k} costs {price}, not the bid {bid}", request)


def no_positive_transfers(auction: Auction, request: Request) -> None:
    """The platform pays nobody, and an empty slot costs nothing and scores nothing."""
    outcome = request.run(auction)
    empty = outcome.winner < 0
    _promise(bool(np.all(outcome.price_micros >= 0)), "positive transfer: a price is negative", request)
    idle = not np.any(outcome.price_micros[empty]) and not np.any(outcome.score[empty])
    _promise(idle, "an empty slot has a price or a score", request)


def one_slot_each(auction: Auction, request: Request) -> None:
    """At most one slot for each candidate, filled from the top, with integer arrays of shape [1, K]."""
    outcome = request.run(auction)
    shape = (1, request.slot_effects.size)
    for name in ("winner", "price_micros", "score"):
        found = getattr(outcome, name).shape
        _promise(found == shape, f"{name} has shape {found}, not {shape}", request)
    for name in ("winner", "price_micros"):
        kind = getattr(outcome, name).dtype
        _promise(kind.kind == "i", f"{name} has dtype {kind}, not an integer", request)
    winners = [i for _, i, _, _ in _slots(outcome)]
    _promise(len(set(winners)) == len(winners), f"a candidate has two slots: winners {winners}", request)
    top = outcome.winner[0, : len(winners)].tolist()
    _promise(top == winners, f"an empty slot stands above a filled one: {outcome.winner[0].tolist()}", request)


def winners_are_the_best_eligible(auction: Auction, request: Request) -> None:
    """As many winners as can be, each eligible, with the highest scores, in order, as reported."""
    outcome = request.run(auction)
    ranked = np.sort(request.score[request.score > 0.0])[::-1][: request.slot_effects.size]
    reported = [score for _, _, _, score in _slots(outcome)]
    real = [float(request.score[i]) for _, i, _, _ in _slots(outcome)]
    _promise(0.0 not in real, f"a winner may not take part: winners {outcome.winner[0].tolist()}", request)
    _promise(real == ranked.tolist(), f"winners score {real}, the best are {ranked.tolist()}", request)
    _promise(reported == real, f"reported scores {reported} are not the winners' {real}", request)


def higher_draw_first(auction: Auction, request: Request) -> None:
    """Among equal scores the higher draw comes first, so that draws, and nothing else, decide ties."""
    outcome = request.run(auction)
    rank = sorted(np.flatnonzero(request.score > 0.0), key=lambda i: (-request.score[i], -request.tie_break[0, i]))
    expected = [int(i) for i in rank[: request.slot_effects.size]]
    found = [i for _, i, _, _ in _slots(outcome)]
    _promise(found == expected, f"tie-break: winners {found}, by draws {expected}", request)


def permutation_invariance(auction: Auction, request: Request) -> None:
    """The order in which candidates are listed decides nothing."""
    n = request.bids.shape[1]
    order = np.roll(np.arange(n), 1)[::-1]
    columns = ("bids", "quality", "eligible", "tie_break")
    changes: dict[str, Any] = {name: getattr(request, name)[:, order] for name in columns}
    before, after = request.run(auction), replace(request, **changes).run(auction)
    mapped = np.where(after.winner >= 0, order[np.maximum(after.winner, 0)], -1)
    same = np.array_equal(mapped, before.winner) and np.array_equal(after.price_micros, before.price_micros)
    _promise(same, f"permutation: order {order.tolist()} changes the outcome", request)


def losing_bid_changes_nothing(auction: Auction, request: Request) -> None:
    """A further candidate that bids nothing, or below the reserve, changes nothing."""
    columns = ("bids", "quality", "eligible", "tie_break")
    extra = {"bids": max(0, request.reserve - 1), "quality": 1.0, "eligible": True, "tie_break": 2.0}
    changes: dict[str, Any] = {
        name: np.append(getattr(request, name), np.array([[extra[name]]], getattr(request, name).dtype), axis=1)
        for name in columns
    }
    before, after = request.run(auction), replace(request, **changes).run(auction)
    same = np.array_equal(after.winner, before.winner) and np.array_equal(after.price_micros, before.price_micros)
    _promise(same, f"a losing bid of {extra['bids']} changes the outcome", request)


def scaling(auction: Auction, request: Request) -> None:
    """Twice the bids and the reserve: the same winners, twice the prices but for rounding to whole micros."""
    before = request.run(auction)
    after = replace(request, bids=request.bids * 2, reserve=request.reserve * 2).run(auction)
    _promise(bool(np.array_equal(after.winner, before.winner)), "scaling: twice the bids, other winners", request)
    saved = 2 * before.price_micros - after.price_micros
    message = f"scaling: prices {before.price_micros[0].tolist()} became {after.price_micros[0].tolist()}"
    _promise(bool(np.all(np.abs(saved) <= 1)), message, request)


def sole_bidder_pays_reserve(auction: Auction, request: Request) -> None:
    """A bidder alone, at or above the reserve, wins the first slot and pays the reserve (its bid in first price)."""
    alone = replace(request, quality=np.ones_like(request.quality), eligible=np.ones_like(request.eligible))
    for bid in (max(1, request.reserve), request.reserve + 5):
        bids = np.zeros_like(request.bids)
        bids[0, 0] = bid
        outcome = replace(alone, bids=bids).run(auction)
        _promise(int(outcome.winner[0, 0]) == 0, f"a sole bidder of {bid} at reserve {request.reserve} loses", request)
        price = int(outcome.price_micros[0, 0])
        _promise(price in (request.reserve, bid), f"a sole bidder of {bid} pays {price}", request)


def sole_bidder_pays_no_more_than_reserve(auction: Auction, request: Request) -> None:
    """With nobody to outbid, the reserve is all there is to pay."""
    bids = np.zeros_like(request.bids)
    bids[0, 0] = request.reserve + 5
    alone = replace(request, bids=bids, quality=np.ones_like(request.quality), eligible=np.ones_like(request.eligible))
    price = int(alone.run(auction).price_micros[0, 0])
    _promise(price == request.reserve, f"a sole bidder pays {price}, not the reserve {request.reserve}", request)


def inputs_are_kept_and_answers_repeat(auction: Auction, request: Request) -> None:
    """The caller's arrays are not written to, and the same inputs give the same outcome."""
    columns = ("bids", "quality", "slot_effects", "eligible", "tie_break")
    copies = {name: getattr(request, name).copy() for name in columns}
    first, second = request.run(auction), request.run(auction)
    for name, copy in copies.items():
        _promise(bool(np.array_equal(copy, getattr(request, name))), f"{name} was written to", request)
    for name in ("winner", "price_micros", "score"):
        same = bool(np.array_equal(getattr(first, name), getattr(second, name)))
        _promise(same, f"{name} differs between two calls", request)


def check_uniform_tie_break(auction: Auction, *, seed: int = 0, rows: int = 6000) -> None:
    """Three equal bidders with uniform draws win one time in three each: chi-square below 13.8 (p = 0.001)."""
    draws = np.random.default_rng(seed).random((rows, 3))
    outcome = auction(np.full((rows, 3), 7), np.ones((rows, 3)), np.ones(1), tie_break=draws)
    counts = np.bincount(outcome.winner[:, 0], minlength=3)
    chi_square = float(np.sum((counts - rows / 3) ** 2) / (rows / 3))
    _promise(chi_square < 13.8, f"tie-break: equal bidders win {counts.tolist()} of {rows}", f"seed {seed}")


FOUR_PROPERTIES: tuple[Property, ...] = (
    individual_rationality,
    price_at_least_reserve,
    own_bid_independence,
    price_reaches_next_score,
)
"""These four together find nearly every fault of a GSP implementation."""

_EVERY_RULE: tuple[Property, ...] = (
    individual_rationality,
    price_at_least_reserve,
    no_positive_transfers,
    one_slot_each,
    winners_are_the_best_eligible,
    higher_draw_first,
    permutation_invariance,
    losing_bid_changes_nothing,
    scaling,
    sole_bidder_pays_reserve,
    inputs_are_kept_and_answers_repeat,
)

RULES: dict[str, tuple[Property, ...]] = {
    "first_price": (*_EVERY_RULE, pays_own_bid),
    "gsp": (
        *_EVERY_RULE,
        own_bid_independence,
        price_reaches_next_score,
        critical_bid,
        sole_bidder_pays_no_more_than_reserve,
    ),
    "vcg": (*_EVERY_RULE, own_bid_independence, sole_bidder_pays_no_more_than_reserve),
}
"""What each kind of auction promises."""


def check_auction(
    auction: Auction,
    *,
    rule: str = "gsp",
    seed: int = 0,
    cases: int = 200,
    properties: Iterable[Property] | None = None,
) -> None:
    """Raise AssertionError, in words, if ``auction`` breaks a promise of its ``rule`` on seeded random requests.

    ``rule`` names a key of RULES; ``properties`` overrides what it stands for.

    >>> from tribid.auctions import gsp, first_price
    >>> check_auction(gsp, cases=20)
    >>> check_auction(first_price, rule="first_price", cases=20)
    """
    if rule not in RULES:
        raise ValueError(f"no rule named {rule!r}; choose first_price, gsp or vcg")
    chosen = RULES[rule] if properties is None else tuple(properties)
    for request in random_requests(seed, cases):
        for check in chosen:
            check(auction, request)
    if properties is None:
        check_uniform_tie_break(auction, seed=seed)
