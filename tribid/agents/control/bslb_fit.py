"""BSLB fitted on training days: a lambda0 for each advertiser."""

from collections.abc import Sequence

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.control.bslb import Bslb, Clock
from tribid.agents.fixed_lambda import fit_fixed_multipliers
from tribid.envs.scenario import Scenario, load_scenario


def fit_bslb(
    scenario: str | Scenario, seeds: Sequence[int], *, advertisers: Sequence[int], rivals: Lineup, clock: Clock = "time"
) -> list[Bidder]:
    """One ``Bslb`` per listed advertiser with its own lambda0: FLB's, the best fixed multiplier of the training days.

    Arguments and cost as for ``tribid.agents.fixed_lambda.fit_fixed_multipliers``.
    """
    loaded = load_scenario(scenario)
    fitted = fit_fixed_multipliers(loaded, seeds, advertisers=advertisers, rivals=rivals)
    return [Bslb(space=BidderSpace.of(loaded), multiplier=float(m), clock=clock) for m in fitted]
