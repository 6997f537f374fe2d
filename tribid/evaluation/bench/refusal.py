"""What a plan asks for that no job could do, told before the first one: a name that is mistyped costs no night."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.bidder import BidderSpace
from tribid.agents.registry import make_bidder
from tribid.agents.settings import checked
from tribid.evaluation.bench.plan import BenchPlan
from tribid.evaluation.entries import FITTED


def check_methods(plan: BenchPlan) -> None:
    """``ValueError`` for the first method with a setting, in its own or in any trial, or a seed that it cannot take."""
    home = next(name for name, market in plan.markets.items() if market.trained_in is None)
    for name, part in plan.methods.items():
        for settings in plan.trials_of(name) or [dict(part.settings)]:
            try:
                _check(plan, home, name, settings)
            except ValueError as error:
                raise ValueError(f"methods.{name}: {error}") from None


def _check(plan: BenchPlan, home: str, name: str, settings: Mapping[str, Any]) -> None:
    part = plan.methods[name]
    if part.algorithm is not None:
        from tribid.agents.training import check_settings  # here: it brings torch

        data = "recorded" if ALGORITHMS[part.algorithm].offline else ""
        training = plan.training_plan(home, name, data, settings)
        for seed in (*plan.train_seeds, *([plan.tuning.train_seed] if plan.tuning else [])):
            replace(training, seed=seed)
        check_settings(training)
        return
    spec = part.bidder or name
    if spec in FITTED:
        checked(FITTED[spec].settings, settings, spec)
    elif settings:
        make_bidder(spec, BidderSpace.of(plan.markets[home].load()), settings)
