"""Whatever trained a policy, the ranker sets its bids exactly as the simulator that judged it did."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from tests.ranker.test_parity import check_days
from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.offline.collect import collect
from tribid.agents.plan import TrainingPlan
from tribid.agents.policy_card import read_card
from tribid.agents.policy_file import load_lineup
from tribid.agents.training import train
from tribid.envs.scenario import load_scenario
from tribid.envs.world import build_world
from tribid.evaluation.day import play_day
from tribid.ranker import Ranker

SCENARIO = load_scenario("tiny").with_changes(rules__segments="state", world__traffic__requests=120)
STEPS = {"bcq": 2000, "dt": 2000, "diffbid": 2000}
KINDS = {
    "ppo": "mlp", "recurrent_ppo": "lstm", "drlb": "discrete", "uscb": "adjusting", "dcmab": "scaled", "bcq": "bcq",
    "dt": "transformer", "diffbid": "diffusion",
}  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    collect(SCENARIO, ["pid", "truthful"], range(6), out=folder, noise=0.2)
    return folder


@pytest.mark.parametrize("algorithm", KINDS)
def test_the_ranker_bids_as_the_simulator_to_the_bit(algorithm: str, log: Path, tmp_path: Path) -> None:
    plan = TrainingPlan(
        scenario=SCENARIO, algorithm=algorithm, steps=STEPS.get(algorithm, 80), num_markets=2, tensorboard=False,
        data=str(log) if algorithm in STEPS else "",
    )  # fmt: skip
    train(plan, tmp_path)
    folder = tmp_path / "policies"
    kinds = {read_card(card).network.kind for card in folder.glob("*.json") if card.name != "lineup.json"}
    assert kinds == {KINDS[algorithm]}

    policies, drivers = load_lineup(folder, space=BidderSpace.of(SCENARIO))
    ranker = Ranker(SCENARIO, folder, seed=5)
    names = build_world(SCENARIO).advertisers.names
    day = play_day(SCENARIO, Lineup(policies, [drivers[name] for name in names]), 5)
    assert np.ptp(day.multipliers) > 0
    for tick, mean in enumerate(day.multipliers):
        ranker.play_to(tick)
        assert ranker.multipliers.mean(axis=1).tobytes() == mean.tobytes(), tick
    assert asyncio.run(check_days(SCENARIO, folder)) > 80
