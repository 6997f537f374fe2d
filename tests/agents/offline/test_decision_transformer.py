"""Decision Transformers from recorded days: causal, repeatable, and as good as the better of two recorded behaviours."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tribid.agents.algorithms import ALGORITHMS, Algorithm
from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.networks.transformer import TransformerCard, TransformerPolicy
from tribid.agents.offline import decision_transformer
from tribid.agents.offline.collect import record_day
from tribid.agents.offline.decision_transformer import DecisionTransformerClassroom, Gpt, Windows
from tribid.agents.offline.trajectories import write_trajectories
from tribid.agents.plan import TrainingPlan
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny").with_changes(rules__outcomes="expected")
SPACE = BidderSpace.of(TINY)
GOOD, BAD = 0.3, 1.0
"""The first advertiser's budget is scarce: at the rivals' multiplier 1 it buys a third of what it buys at 0.3."""


def lineup_with(bidder: Bidder, name: str = "own") -> Lineup:
    return Lineup({name: bidder, "rival": FixedMultiplier(1.0, space=SPACE)}, [name, *["rival"] * 4])


def mean_score(bidder: Bidder, days: range = range(500, 506)) -> float:
    ends = [play(TINY, seed, lineup_with(bidder))[0] for seed in days]
    return float(np.mean([score(end.advertisers, end.total, 2.0)[0] for end in ends]))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days, in turn of the good and the bad behaviour."""
    folder = tmp_path_factory.mktemp("days")
    for seed in range(40):
        name, multiplier = ("good", GOOD) if seed % 2 else ("bad", BAD)
        day = record_day(TINY, lineup_with(FixedMultiplier(multiplier, space=SPACE), name), seed, noise=0.05)
        write_trajectories(day.select(day.advertiser == "adv_00"), folder / f"part-{seed:05d}.parquet")
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, size in (("CONTEXT", 4), ("WIDTH", 16), ("LAYERS", 1), ("WINDOWS", 64)):
        monkeypatch.setattr(decision_transformer, name, size)
    module = "tribid.agents.offline.decision_transformer"
    monkeypatch.setitem(ALGORITHMS, "dt", Algorithm("dt", module, "DecisionTransformerClassroom", offline=True))
    yield
    torch.set_num_threads(threads)


def plan_of(recorded: Path, updates: int = 4, **changes: object) -> TrainingPlan:
    plan = TrainingPlan(
        scenario=TINY, algorithm="dt", data=str(recorded), learners=(0,), steps=256 * updates, tensorboard=False
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def taught(plan: TrainingPlan, folder: Path) -> tuple[DecisionTransformerClassroom, TransformerPolicy]:
    room = DecisionTransformerClassroom(plan, folder, None)
    room.run()
    policy = room.snapshot("shared")
    assert isinstance(policy, TransformerPolicy)
    return room, policy


def asked_for(policy: TransformerPolicy, target: float) -> TransformerPolicy:
    return replace(policy, network=policy.network.model_copy(update={"target_return": target}))


def test_it_acts_as_the_behaviour_that_earned_what_is_asked_for(recorded: Path, tmp_path: Path) -> None:
    _, policy = taught(plan_of(recorded, updates=200), tmp_path)
    good, bad = (mean_score(FixedMultiplier(m, space=SPACE)) for m in (GOOD, BAD))
    assert good > 2 * bad
    assert mean_score(policy) > 0.9 * good
    assert mean_score(asked_for(policy, 0.0)) < 0.5 * good


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(recorded: Path, tmp_path: Path) -> None:
    def weights(seed: int) -> bytes:
        _, policy = taught(plan_of(recorded, seed=seed), tmp_path)
        return b"".join(values.tobytes() for values in policy.tensors().values())

    first = weights(0)
    torch.manual_seed(99)  # draws from torch's own generator change nothing
    assert weights(0) == first
    assert weights(1) != first


def test_a_later_token_never_changes_an_earlier_action() -> None:
    card = TransformerCard(
        observed=36, actions=1, ticks=8, context=6, width=16, layers=2, heads=4, hidden=32, terms=4, observation_clip=5.0,
        target_return=1.0, penalty_exponent=2.0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    network = Gpt(card, generator)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0.0, 0.5, generator=generator)
    numbers = [torch.randn(shape, generator=generator) for shape in ((3, 6), (3, 6, 36), (3, 6, 1))]
    windows = Windows(*numbers, torch.arange(6).expand(3, 6), torch.ones(3, 6, dtype=torch.bool))
    before = network(windows)
    for tick in range(6):
        for name in ("returns", "observations", "actions"):
            part = getattr(windows, name).clone()
            part[:, tick:] += 1.0
            after = network(windows._replace(**{name: part}))
            assert torch.equal(after[:, :tick], before[:, :tick])
            # An action is seen from the next tick on; return and observation at once.
            assert torch.equal(after[:, tick], before[:, tick]) == (name == "actions")
            assert not torch.equal(after, before) or (name, tick) == ("actions", 5)
    there = windows.there.clone()
    there[:, 4:] = False
    hidden = windows._replace(there=there, returns=torch.where(there, windows.returns, torch.tensor(7.0)))
    assert torch.allclose(network(hidden)[:, :4], before[:, :4], atol=1e-6)


def test_windows_hold_what_was_recorded_and_the_returns_of_serving(recorded: Path, tmp_path: Path) -> None:
    room = DecisionTransformerClassroom(plan_of(recorded), tmp_path, None)
    method = room.methods["shared"]
    place = next(method.places)  # type: ignore[attr-defined]
    windows = method.windows(place)  # type: ignore[attr-defined]
    served = room.snapshot("shared")
    assert isinstance(served, TransformerPolicy)
    lesson = room.lessons["shared"]
    for row, (episode, last) in enumerate(zip(place.episode[:9], place.tick[:9], strict=True)):
        first = max(0, last - 3)
        state = None
        day = asked_for(served, float(method.returns.day[episode]))  # type: ignore[attr-defined]
        for tick in range(first, last + 1):
            _, state = day.predict(lesson.data.observations[episode, tick][None], state)
        assert state is not None
        count = last + 1 - first
        assert windows.there[row].tolist() == [True] * count + [False] * (4 - count)
        assert windows.ticks[row, :count].tolist() == list(range(first, last + 1))
        np.testing.assert_allclose(state.past[0, :count, 0], windows.returns[row, :count], atol=2e-3)
        np.testing.assert_allclose(state.past[0, :count, 1:37], windows.observations[row, :count], atol=1e-5)
        np.testing.assert_array_equal(windows.actions[row, :count], lesson.data.actions[episode, first : last + 1])


def test_the_learning_curve_is_the_score_that_is_asked_for(recorded: Path, tmp_path: Path) -> None:
    room, _ = taught(plan_of(recorded), tmp_path)
    days = room.lessons["shared"].data.returns_to_go()[:, 0]
    assert room.learning[-1]["steps"] == 4 * 256
    assert np.quantile(days, 0.7) < room.learning[-1]["score"] < days.max()
    assert set(room.last_good.policies) == {"shared"}


def test_rewards_of_another_penalty_are_refused(recorded: Path, tmp_path: Path) -> None:
    room = DecisionTransformerClassroom(plan_of(recorded), tmp_path, None)
    returns = room.methods["shared"].returns  # type: ignore[attr-defined]
    assert returns.to_go(2.0).shape == (40, 8)
    data = room.lessons["shared"].data
    room.lessons["shared"].data = replace(data, rewards=data.rewards * 2)
    with pytest.raises(ValueError, match="allowed are rewards of part own with penalty_exponent 2"):
        returns.to_go(2.0)
