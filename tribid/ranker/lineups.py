"""Lineups to serve: who bids for whom, from a folder of policy files, a bidder's name, or objects."""

from pathlib import Path

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.policy_file import load_lineup
from tribid.agents.registry import make_bidder
from tribid.envs.scenario import Scenario


def lineup_of(
    scenario: Scenario, policies: str | Path | Bidder | Lineup, others: str, names: tuple[str, ...], *,
    any_scenario: bool = False,
) -> Lineup:  # fmt: skip
    """The lineup for all advertisers ``names``; those that a folder has no policy for bid by ``others``.

    Policy files of another scenario are refused unless ``any_scenario``.
    """
    if isinstance(policies, Lineup):
        return policies
    if isinstance(policies, Path) or (isinstance(policies, str) and Path(policies).is_dir()):
        if not (Path(policies) / "lineup.json").is_file():
            raise ValueError(
                f"{policies} holds no policies; allowed is a folder such as {Path(policies) / 'seed-0' / 'policies'}"
            )
        loaded, drivers = load_lineup(Path(policies), scenario=scenario, any_scenario=any_scenario)
        unknown = sorted(set(drivers) - set(names))
        if unknown:
            raise ValueError(f"{policies} drives {unknown[0]!r}; scenario {scenario.name} has {', '.join(names)}")
        bidders: dict[str, Bidder] = {f"policy {name}": policy for name, policy in loaded.items()}
        bidders["others"] = make_bidder(others, BidderSpace.of(scenario))
        return Lineup(bidders, [f"policy {drivers[name]}" if name in drivers else "others" for name in names])
    bidder = make_bidder(policies, BidderSpace.of(scenario)) if isinstance(policies, str) else policies
    return Lineup.of(bidder, len(names))
