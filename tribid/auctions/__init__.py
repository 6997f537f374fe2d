"""Who wins and what is paid: auctions as pure functions of arrays, without clock or chance of their own.

A request has N candidates and a page has K slots; B requests are decided at once. Bids and prices are whole micros
(1,000,000 = 1 currency unit), and quality is usually the predicted click rate:

>>> outcome = gsp([[10, 4, 2]], [[1.0, 1.0, 1.0]], slot_effects=[1.0, 0.5])
>>> outcome.winner, outcome.price_micros
(array([[0, 1]]), array([[4, 2]]))

``gsp``, ``vcg`` and ``first_price`` share one shape and choose the same winners; ``auction_named("gsp")`` turns the
name in a scenario into the function. A reserve keeps low bids out and holds prices up; ``tie_break`` takes the draws
that decide between equal scores:

>>> gsp([[10, 4, 2]], [[1.0, 1.0, 1.0]], slot_effects=[1.0, 0.5], reserve_micros=5)
Outcome(winner=array([[ 0, -1]]), price_micros=array([[5, 0]]), score=array([[10.,  0.]]))

``ocpc`` adjusts bids before the auction, within bounds that protect an advertiser's return. What bidders would do in
equilibrium is in ``position_auction``, how bidders may share credit in ``credit``. Write a mechanism of your own and
``tribid.auctions.testing.check_auction`` tells whether it is one. ``reference`` holds the rules in plain numpy,
``kernels`` the compiled loops that a simulator calls.
"""

from tribid.auctions.credit import passes_bar, shared_reward, temperature_credit
from tribid.auctions.mechanisms import AUCTIONS, Auction, auction_named, first_price, gsp, vcg
from tribid.auctions.ocpc import (
    INDICES,
    STRATEGIES,
    BidBounds,
    OcpcResult,
    bid_bounds,
    calibrate_tail,
    ocpc,
    sigma,
    trimmed_mean_pcvr,
)
from tribid.auctions.outcome import Outcome
from tribid.auctions.position_auction import (
    gsp_payments,
    highest_symmetric_bids,
    is_locally_envy_free,
    is_nash_equilibrium,
    lowest_symmetric_bids,
    stakeholder_reserve,
    vcg_payments,
)

__all__ = [
    "AUCTIONS",
    "INDICES",
    "STRATEGIES",
    "Auction",
    "BidBounds",
    "OcpcResult",
    "Outcome",
    "auction_named",
    "bid_bounds",
    "calibrate_tail",
    "first_price",
    "gsp",
    "gsp_payments",
    "highest_symmetric_bids",
    "is_locally_envy_free",
    "is_nash_equilibrium",
    "lowest_symmetric_bids",
    "ocpc",
    "passes_bar",
    "shared_reward",
    "sigma",
    "stakeholder_reserve",
    "temperature_credit",
    "trimmed_mean_pcvr",
    "vcg",
    "vcg_payments",
]
