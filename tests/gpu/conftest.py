"""What the tests of the device share: markets played side by side with the host's.

Without a CUDA device Triton interprets its kernels; it has to be told before its first import.
"""

import os
from itertools import pairwise

import numpy as np
import pytest
import torch

from tribid.envs import market
from tribid.envs.scenario import load_scenario
from tribid.gpu.law import law_of
from tribid.gpu.plan import Plan
from tribid.gpu.requests import new_standing
from tribid.gpu.traffic import device_world

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

SUMS = ("gap", "pctr", "pcvr")
"""Counts that are sums of fractions: their last bits depend on the order of summation."""

EQUAL_SCORES = {
    "advertisers": [{"name": name, "budget": 3.0, "base_bid": 0.5} for name in "abcd"],
    "world__rates__interest_ctr": 0.0,
    "world__rates__ad_ctr_spread": 0.0,
    "world__prediction__ad_calibration_spread": 0.0,
    "world__prediction__ctr_noise": 0.0,
    "rules__ocpc__strategy": "off",
}
"""Every ad has every other's score: draws decide each auction."""

RULES = {
    "greedy f2": {},
    "greedy sigma": {"rules__ocpc__index": "sigma", "rules__segments": "state"},
    "greedy f1": {"rules__ocpc__index": "f1"},
    "simple": {"rules__ocpc__strategy": "simple"},
    "conversion rank": {"rules__ocpc__strategy": "conversion_rank"},
    "off": {"rules__ocpc__strategy": "off"},
    "vcg": {"rules__auction": "vcg"},
    "first price": {"rules__auction": "first_price"},
    "impressions": {"rules__charge": "impression", "rules__ocpc__strategy": "off"},
    "expected": {"rules__outcomes": "expected"},
    "squash 0": {"rules__squash": 0.0},
    "squash 2": {"rules__squash": 2.0},
    "no reserve, a slot nobody sees": {"rules__reserve": 0.0, "rules__slot_effects": [1.0, 0.4, 0.0]},
    "more slots than bidders": {"rules__slot_effects": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]},
    "one bidder": {"generated__count": 1},
    "visits that never leave": {"world__users__leave_base": 0.0, "world__users__leave_irrelevance": 0.0},
    "visits that mostly leave": {"world__users__leave_base": 0.6, "world__traffic__session_length": 40},
    "a low bid cap": {"rules__max_bid": 0.2},
    "equal scores": EQUAL_SCORES,
    "equal scores, greedy": EQUAL_SCORES | {"rules__ocpc__strategy": "greedy", "rules__ocpc__bid_range": 0.0},
}
"""Changes to the tiny scenario; between them every rule that an engine reads."""

QUICK = ("vcg", "visits that mostly leave")
"""The rule sets that are tried with interpreted kernels in every run."""


class Followed:
    """Markets on a device beside the host's, under the same random multipliers; ``step`` compares a whole tick."""

    def __init__(self, scenario, settle, device, markets=2, seed=5, **options):
        self.hosts = [market.reset(scenario, seed + m, m) for m in range(markets)]
        world = self.hosts[0].world
        self.scenario, self.world, self.settle, self.options, self.device = scenario, world, settle, options, device
        self.law = law_of(scenario, world.advertisers, tuple(world.leaving), device)
        self.source = device_world(scenario, world, device)
        days = list(range(markets))
        self.plan = Plan(world, [seed + m for m in days], days, device)
        self.left = torch.tensor(np.stack([host.left_micros for host in self.hosts]), device=device)
        self.rng = np.random.default_rng(seed)
        self.tick = 0

    def step(self, batches=1, exact_sums=False):
        shape = (len(self.hosts), len(self.world.advertisers), self.world.n_segments)
        given = np.exp(self.rng.normal(0.0, 0.7, shape)).clip(0.0, self.scenario.rules.max_multiplier)
        given[self.rng.random(shape) < 0.1] = 0.0
        given = np.ones_like(given) if len(set(self.world.advertisers.bid_per_click)) == 1 else given
        multiplier = torch.tensor(given, device=self.device).transpose(1, 2).contiguous()
        visits, most = self.source.visits(self.plan, self.tick), self.plan.most_requests(self.tick)
        standing, pages = new_standing(self.left, visits.most), []
        cuts = np.linspace(0, most, batches + 1).astype(int)
        for start, stop in pairwise(cuts):
            batch = self.source.batch(self.plan, self.tick, visits, int(start), int(stop))
            standing, page = self.settle(self.law, batch, multiplier, standing, record=True, **self.options)
            pages.append(page)
        self.left, self.tick = standing.left_micros, self.tick + 1
        for m, host in enumerate(self.hosts):
            self.hosts[m], tick = market.step(host, given[m])
            self._same_pages(m, tick, pages)
            self._same_counts(m, tick, standing, exact_sums)
            np.testing.assert_array_equal(self.left[m].cpu().numpy(), self.hosts[m].left_micros)

    def _same_pages(self, m, tick, pages):
        for name, wanted in tick.slots._asdict().items():
            found = torch.cat([getattr(page, name)[m] for page in pages])[: len(wanted)].cpu().numpy()
            np.testing.assert_array_equal(found, wanted, err_msg=f"{name} of market {m}, tick {tick.number}")

    def _same_counts(self, m, tick, standing, exact_sums):
        for name, wanted in tick.ledger.counts._asdict().items():
            found = getattr(standing.counts, name)[m].cpu().numpy()
            if exact_sums or (name not in SUMS and self.scenario.rules.outcomes == "sampled"):
                np.testing.assert_array_equal(found, wanted, err_msg=name)
            else:
                np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def followed(device):
    """Followed markets of the tiny scenario with changes, or of any scenario."""

    def make(settle, scenario="tiny", markets=2, options=None, **changes):
        return Followed(load_scenario(scenario).with_changes(**changes), settle, device, markets, **(options or {}))

    return make


@pytest.fixture
def rule_sets():
    """All of them, by name."""
    return RULES


@pytest.fixture(params=list(RULES))
def rules(request):
    """Each of the rule sets in turn."""
    return RULES[request.param]


@pytest.fixture(params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RULES])
def interpreted_rules(request):
    """Each of the rule sets in turn; interpreted kernels are slow, so few are for every run."""
    return RULES[request.param]
