"""Learnt parts of a shop's platform, and policies, for the ranker's figures: fitted on a short log, in a process of its own.

They know little. How long an answer takes depends on their shapes, which are those of a long training.
"""

from pathlib import Path
from typing import Any

from tribid.agents.bidder import BidderSpace
from tribid.agents.log_policy import log_policy
from tribid.agents.policy_file import save_lineup
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.testing import random_policy
from tribid.envs.impressions import LogPlan, write_log
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world

LOG_DAYS = 3
HIDDEN = (64, 64)
"""Layers of the policies: those of the default training."""


def made_policies(folder: str, scenario: Scenario, seed: int = 0) -> str:
    """A folder of policy files in which one network with random weights drives every advertiser; returned."""
    names = build_world(scenario).advertisers.names
    policy = random_policy(BidderSpace.of(scenario), HIDDEN, seed)
    save_lineup({"policy": policy}, dict.fromkeys(names, "policy"), folder, scenario=scenario)
    return folder


def fit_parts(folder: str) -> dict[str, Any]:
    """Write a log of the shop and fit DIN (width 8), ESMM, TDM, the picker of creatives and the state model on it.

    Returns their folders by the fields of ``tribid.benchmark.served.Setup``. Needs torch.
    """
    from tribid.models.fit.creative import CreativeFit, fit_creative
    from tribid.models.fit.data import LogSource
    from tribid.models.fit.rates import RateFit, fit_rates
    from tribid.models.fit.retrieval import RetrievalFit, fit_retrieval
    from tribid.models.fit.state import StateFit, fit_state

    home, scenario = Path(folder), load_scenario("shop")
    lineup = rivals_in_turn(("pid", "truthful"), scenario)
    write_log(LogPlan(scenario=scenario, days=LOG_DAYS, explore=0.1), home / "log", policy=log_policy(lineup))
    source = LogSource(path=home / "log", validation_days=1, test_days=1)
    click, order = home / "din", home / "esmm"
    found = {name: str(home / name) for name in ("retrieval", "creative", "state")}
    fit_rates(RateFit(source=source, model="din"), click)
    fit_rates(RateFit(source=source, model="esmm"), order)
    fit_retrieval(RetrievalFit(source=source, lessons=10_000), found["retrieval"])
    fit_creative(CreativeFit(source=source), found["creative"])
    fit_state(StateFit(source=source, model="sequence", settings={"epochs": 1}), found["state"])
    return {"rates": [str(order), str(click)], **found}  # the later one gives the click rates
