"""Lineups to serve: who bids for whom, from a folder of policy files, a bidder's name, or objects."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from tribid import __version__
from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.policy_card import PolicyCard
from tribid.agents.policy_file import read_lineup
from tribid.agents.registry import make_bidder
from tribid.envs.scenario import Scenario


class LoadedLineup(NamedTuple):
    """A lineup with the cards of its policies that came from files: those of exactly the weights that it bids with."""

    lineup: Lineup
    cards: tuple[PolicyCard, ...] = ()

    @property
    def version(self) -> str:
        """12 hex digits that name the weights; of a lineup of rules alone, Tribid's own version."""
        if not self.cards:
            return __version__
        weights = sorted(card.weights_sha256 for card in self.cards)
        return hashlib.sha256("".join(weights).encode()).hexdigest()[:12]

    @property
    def kind(self) -> str:
        """The kinds of its networks, such as ``lstm+mlp``; ``rule`` where it has none."""
        return "+".join(sorted({card.network.kind for card in self.cards})) or "rule"


def loaded_lineup(
    scenario: Scenario, policies: str | Path | Bidder | Lineup, others: str, names: tuple[str, ...], *,
    any_scenario: bool = False,
) -> LoadedLineup:  # fmt: skip
    """The lineup for all advertisers ``names``; those that a folder has no policy for bid by ``others``.

    Policy files of another scenario are refused unless ``any_scenario``.
    """
    if isinstance(policies, Lineup):
        return LoadedLineup(policies)
    if isinstance(policies, Path) or (isinstance(policies, str) and Path(policies).is_dir()):
        if not (Path(policies) / "lineup.json").is_file():
            raise ValueError(
                f"{policies} holds no policies; allowed is a folder such as {Path(policies) / 'seed-0' / 'policies'}"
            )
        files, drivers = read_lineup(Path(policies), scenario=scenario, any_scenario=any_scenario)
        unknown = sorted(set(drivers) - set(names))
        if unknown:
            raise ValueError(f"{policies} drives {unknown[0]!r}; scenario {scenario.name} has {', '.join(names)}")
        bidders: dict[str, Bidder] = {f"policy {name}": file.policy for name, file in files.items()}
        bidders["others"] = make_bidder(others, BidderSpace.of(scenario))
        lineup = Lineup(bidders, [f"policy {drivers[name]}" if name in drivers else "others" for name in names])
        return LoadedLineup(lineup, tuple(file.card for file in files.values()))
    bidder = make_bidder(policies, BidderSpace.of(scenario)) if isinstance(policies, str) else policies
    return LoadedLineup(Lineup.of(bidder, len(names)))
