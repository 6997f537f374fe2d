"""What holds for every bidder, whatever it does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import Bidder, BidderSpace, Lineup, policy_mapping
from tribid.agents.policy_file import save_policy
from tribid.agents.registry import BIDDERS, make_bidder
from tribid.agents.rules import FixedMultiplier, Off, RandomBidder
from tribid.agents.testing import check_bidder, play, random_observations, random_policy
from tribid.envs.action import to_multiplier
from tribid.envs.market import reset
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario, load_scenario

SPACES = [BidderSpace(segments=s, n_ticks=8) for s in (1, 2, 3)]


@pytest.fixture(params=[*BIDDERS, "fixed:0.8", "policy"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def everybody(bidder: Bidder, scenario: Scenario) -> Lineup:
    return Lineup.of(bidder, len(reset(scenario, 0).advertisers))


def made(kind: str, space: BidderSpace) -> Bidder:
    return random_policy(space) if kind == "policy" else make_bidder(kind, space)


def test_every_bidder_keeps_the_contract(kind: str) -> None:
    check_bidder(lambda space: made(kind, space))


class Broken(FixedMultiplier):
    """A bidder with one fault."""

    def __init__(self, fault: str, *, space: BidderSpace) -> None:
        super().__init__(1.0, space=space)
        self.fault, self.calls = fault, 0

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> Any:
        self.calls += 1
        actions, _ = super().predict(observation)
        if self.fault == "shape":
            return actions[:, 0], None
        if self.fault == "type":
            return actions.astype(np.float64), None
        if self.fault == "bounds":
            return actions + np.float32(1.5), None
        if self.fault == "memory":
            return actions + np.float32(self.calls / 1000), None
        if self.fault == "observation":
            observation[0, 0] = 0.5
            return actions, None
        tick = 0 if state is None else state
        return actions + np.float32(tick / 100), tick + 1


@pytest.mark.parametrize("fault", ["shape", "type", "bounds", "memory", "observation", "episode_start"])
def test_the_checker_finds_a_broken_bidder(fault: str) -> None:
    with pytest.raises(AssertionError):
        check_bidder(lambda space: Broken(fault, space=space))


def test_a_rows_action_does_not_depend_on_the_other_rows(kind: str) -> None:
    if kind in ("random", "throttling"):
        pytest.skip("its rows are told apart by their place")
    space = SPACES[1]
    bidder, seen, later = made(kind, space), random_observations(space, 20), random_observations(space, 20, seed=1)
    _, state = bidder.predict(seen)
    together, _ = bidder.predict(later, state)
    for row in range(20):
        _, alone = bidder.predict(seen[row : row + 1])
        action, _ = bidder.predict(later[row : row + 1], alone)
        assert action.tobytes() == together[row].tobytes()


@pytest.mark.parametrize("shape", [(36,), (2, 35), (2, 36, 1)])
def test_an_observation_of_another_shape_is_refused(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        made(kind, SPACES[0]).predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize("scenario", ["tiny", "feed"])
def test_every_bidder_plays_a_whole_day_of_a_shipped_scenario(kind: str, scenario: str) -> None:
    loaded = load_scenario(scenario)
    state, _ = play(loaded, 0, everybody(made(kind, BidderSpace.of(loaded)), loaded))
    assert state.done
    assert (state.left_micros >= 0).all()


def test_off_wins_nothing_and_spends_nothing() -> None:
    tiny = load_scenario("tiny")
    state, _ = play(tiny, 0, everybody(Off(space=BidderSpace.of(tiny)), tiny))
    assert state.total.spend_micros.sum() == 0
    assert state.total.counts.wins.sum() == 0
    assert state.total.counts.took_part.sum() == 0


def test_the_multiplier_that_is_asked_for_is_the_one_played() -> None:
    space = SPACES[0]
    for multiplier in (0.0, 0.01, 0.5, 1.0, 3.0, 8.0):
        actions, _ = FixedMultiplier(multiplier, space=space).predict(random_observations(space, 1))
        assert to_multiplier(actions, 8.0)[0, 0] == pytest.approx(multiplier, rel=1e-5)


def test_random_actions_differ_by_tick_row_segment_and_seed_and_fill_the_bounds() -> None:
    space = BidderSpace(segments=5)
    seen = random_observations(space, 200)
    first, state = RandomBidder(space=space, seed=1).predict(seen)
    second, _ = RandomBidder(space=space, seed=1).predict(seen, state)
    other, _ = RandomBidder(space=space, seed=2).predict(seen)
    draws = np.stack([first, second, other])
    assert len(np.unique(draws)) > 0.999 * draws.size
    assert abs(draws.mean()) < 0.05
    assert draws.min() < -0.99
    assert draws.max() > 0.99


def test_a_lineup_asks_each_bidder_once_with_its_own_rows() -> None:
    tiny = load_scenario("tiny")
    space = BidderSpace.of(tiny)
    bidders = {name: make_bidder(name, space) for name in ("pid", "off", "dual_pacing")}
    mapping = ["pid", "off", "dual_pacing", "pid", "off"]
    lineup = Lineup(bidders, mapping)
    seen = observe(reset(tiny, 0))
    actions, states = lineup.act(seen, {})
    assert (actions[[1, 4]] == -1).all()
    assert set(states) == set(mapping)
    alone, _ = bidders["pid"].predict(seen[[0, 3]])
    assert (actions[[0, 3]] == alone).all()


def test_lineup_errors_name_the_choices() -> None:
    off = Off(space=SPACES[0])
    with pytest.raises(ValueError, match="no bidder named 'on'; choose off"):
        Lineup({"off": off}, ["on"])
    with pytest.raises(ValueError, match="mapping is empty"):
        Lineup({"off": off}, [])
    with pytest.raises(ValueError, match="2 rows; allowed is one for each of 1"):
        Lineup({"off": off}, ["off"]).act(random_observations(SPACES[0], 2), {})


def test_policy_mappings() -> None:
    advertisers = reset(load_scenario("tiny"), 0).advertisers
    assert policy_mapping("shared", advertisers) == ("shared",) * 5
    assert policy_mapping("independent", advertisers) == advertisers.names
    assert policy_mapping("by_objective", advertisers)[3] == "target_cpa"
    with pytest.raises(ValueError, match="choose shared, independent, by_objective"):
        policy_mapping("alone", advertisers)


def test_bidder_space_of_a_scenario_with_user_segments() -> None:
    tiny = load_scenario("tiny")
    assert BidderSpace.of(tiny.with_changes(rules__segments="state")).segments == 2
    assert BidderSpace.of(tiny.with_changes(rules__segments="cluster")).segments == 3
    assert BidderSpace.of("auctionnet").n_ticks == 48


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"segments": 0}, "segments is 0"), ({"n_ticks": True}, "n_ticks"), ({"max_multiplier": 1.0}, "max_multiplier")],
)
def test_bidder_space_refuses_nonsense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BidderSpace(**changes)


@pytest.mark.parametrize("name", ["", "Pid", "fixed:", "fixed:x", "fixed:9", "fixed:-1", "fixed:nan", "off:1", "a/b"])
def test_a_name_that_is_no_bidder_is_an_error_that_says_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match=r"choose|allowed"):
        make_bidder(name, SPACES[0])


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed"):
        RandomBidder(space=SPACES[0], seed=seed)


def test_a_policy_file_is_a_bidder_by_its_path(tmp_path: Path) -> None:
    tiny = load_scenario("tiny")
    space = BidderSpace.of(tiny)
    policy = random_policy(space)
    save_policy(policy, tmp_path / "p.safetensors", name="p", scenario=tiny)
    loaded = make_bidder(str(tmp_path / "p.safetensors"), space)
    seen = random_observations(space, 5)
    assert (loaded.predict(seen)[0] == policy.predict(seen)[0]).all()
