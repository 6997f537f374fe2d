"""Against whom a policy learns: frozen rivals, others that learn in turn, and its own past."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.league import League, league_places
from tribid.agents.plan import Roster, TrainingPlan
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.sb3 import Sb3Classroom
from tribid.agents.seeds import describe
from tribid.agents.testing import random_observations, random_policy
from tribid.envs.observation import field_index
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)
PLAN = TrainingPlan(
    scenario=TINY, steps=64, num_markets=1, learners=(0, 3), rivals=("fixed:0.5",), warm_start="", tensorboard=False,
    rounds=4, self_play=2,
)  # fmt: skip


def bits(policy: Any) -> bytes:
    return b"".join(values.tobytes() for values in policy.tensors().values())


def watched(plan: TrainingPlan, folder: Path) -> tuple[Sb3Classroom, list[tuple[str, int, Lineup, dict[int, bytes]]]]:
    """A classroom after its run, and for each turn the policy, the round, the lineup, and the league before it."""
    turns = []

    class Watched(Sb3Classroom):
        def rivals_of(self, name: str, round_: int) -> Lineup:
            lineup = super().rivals_of(name, round_)
            league = self.pupils[name].league.snapshots
            turns.append((name, round_, lineup, {after: bits(policy) for after, policy in league.items()}))
            return lineup

    room = Watched(plan, folder, None)
    room.run()
    return room, turns


def test_the_league_grows_to_its_size_and_then_loses_its_oldest(tmp_path: Path) -> None:
    room, turns = watched(PLAN, tmp_path)
    assert [list(league) for _, _, _, league in turns] == [[], [0], [0, 1], [1, 2]]
    assert list(room.pupils["shared"].league.snapshots) == [2, 3]


def test_past_snapshots_stay_as_they_were_while_the_policy_learns_on(tmp_path: Path) -> None:
    room, turns = watched(PLAN, tmp_path)
    assert turns[1][3][0] == turns[2][3][0]
    assert turns[2][3][1] == turns[3][3][1]
    league = room.pupils["shared"].league.snapshots
    assert bits(league[2]) == turns[3][3][2]
    assert len({*turns[2][3].values(), *(bits(policy) for policy in league.values())}) == 4
    assert bits(league[3]) == bits(room.snapshot("shared"))


def test_every_second_advertiser_that_does_not_learn_is_driven_by_a_snapshot(tmp_path: Path) -> None:
    _, turns = watched(PLAN, tmp_path)
    seen = random_observations(SPACE, 5)
    for _, _, lineup, league in turns[1:]:
        actions, _ = lineup.act(seen, {})
        for place in (1, 4):
            driver = lineup.bidders[lineup.mapping[place]]
            assert bits(driver) in league.values()
            assert (actions[place] == driver.predict(seen[[place]])[0]).all()
        assert lineup.mapping[2] == "fixed:0.5"
    assert set(turns[0][2].mapping) == {"fixed:0.5"}


def test_the_environment_asks_the_snapshots_for_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    act = Lineup.act

    def told(self: Lineup, *arguments: Any, **more: Any) -> Any:
        asked.extend(name for name in self.mapping if name.startswith("snapshot"))
        return act(self, *arguments, **more)

    monkeypatch.setattr(Lineup, "act", told)
    watched(replace(PLAN, rounds=2, steps=32), tmp_path)
    assert set(asked) == {"snapshot after round 0"}
    assert len(asked) >= 2 * TINY.world.traffic.ticks


def test_draws_depend_on_seed_round_and_place_alone() -> None:
    def league(seed: int, which: int = 0) -> League:
        kept = League(5, seed=seed, which=which)
        for after in range(5):
            kept.add(after, random_policy(SPACE, seed=after))
        return kept

    places = list(range(40))
    one = league(0)
    first = [one.draw(round_, places) for round_ in range(5, 9)]
    again = league(0)
    assert [again.draw(round_, places) for round_ in reversed(range(5, 9))] == first[::-1]
    assert one.draw(6, places[::-1]) == first[1][::-1]
    assert len({*first, league(1).draw(5, places), league(0, 1).draw(5, places)}) == 6
    share = np.bincount(one.draw(7, range(5000)), minlength=5) / 5000
    assert np.abs(share - 0.2).max() < 0.03


def test_the_same_plan_gives_the_same_league_and_another_seed_another(tmp_path: Path) -> None:
    one, first = watched(PLAN, tmp_path)
    two, again = watched(PLAN, tmp_path)
    assert [turn[2].mapping for turn in first] == [turn[2].mapping for turn in again]
    assert bits(one.snapshot("shared")) == bits(two.snapshot("shared"))
    other, _ = watched(replace(PLAN, seed=1), tmp_path)
    assert bits(other.snapshot("shared")) != bits(one.snapshot("shared"))
    without, _ = watched(replace(PLAN, self_play=0), tmp_path)
    assert bits(without.snapshot("shared")) != bits(one.snapshot("shared"))


def test_each_policy_has_a_league_of_its_own(tmp_path: Path) -> None:
    plan = replace(PLAN, mapping="independent", steps=16, rounds=2)
    room, turns = watched(plan, tmp_path)
    assert [(name, round_) for name, round_, _, _ in turns] == [
        ("adv_00", 0), ("adv_03", 0), ("adv_00", 1), ("adv_03", 1)
    ]  # fmt: skip
    assert turns[2][3].values() != turns[3][3].values()
    assert turns[2][2].mapping[3] == "policy adv_03"
    assert bits(room.pupils["adv_00"].league.snapshots[1]) == bits(room.snapshot("adv_00"))


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "td3", "recurrent_ppo"])
def test_every_algorithm_learns_against_others_that_learn_and_against_its_past(algorithm: str, tmp_path: Path) -> None:
    plan = replace(PLAN, algorithm=algorithm, mapping="independent", steps=32, rounds=2)
    room, turns = watched(plan, tmp_path)
    last = turns[-1][2]
    assert last.mapping == (
        "policy adv_00",
        "snapshot after round 0",
        "fixed:0.5",
        "fixed:0.5",
        "snapshot after round 0",
    )
    assert bits(last.bidders["policy adv_00"]) == bits(room.snapshot("adv_00"))
    league = room.pupils["adv_03"].league.snapshots
    assert bits(league[0]) != bits(league[1])
    assert room.learning[-1]["steps"] == 2 * 32


def test_frozen_rivals_are_those_of_the_plan(tmp_path: Path) -> None:
    room = Sb3Classroom(replace(PLAN, self_play=0, rounds=1, rivals=("pid", "off")), tmp_path, None)
    lineup = room.rivals_of("shared", 0)
    assert lineup.mapping == rivals_in_turn(("pid", "off"), TINY).mapping


def test_a_run_without_self_play_is_described_as_before() -> None:
    assert "self_play" not in describe(replace(PLAN, self_play=0))
    assert describe(PLAN)["self_play"] == 2


def test_places_are_every_second_of_those_that_do_not_learn() -> None:
    assert league_places((0, 3), 5) == (1, 4)
    assert league_places((1,), 6) == (0, 3, 5)
    assert league_places(range(4), 5) == (4,)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rounds": 1}, "self_play is 2 with rounds 1; allowed with it are 2 rounds or more"),
        ({"self_play": -1}, "self_play is -1; allowed is 0 to 1000"),
        ({"self_play": 1001}, "self_play is 1001; allowed is 0 to 1000"),
        ({"engine": "device"}, "on engine 'device'; allowed there is 0: only ppo, sac"),
    ],
)
def test_self_play_that_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(PLAN, **change)


def test_self_play_needs_an_advertiser_that_does_not_learn() -> None:
    with pytest.raises(ValueError, match="self_play is 2 and all 5 advertisers learn; allowed are fewer learners"):
        Roster.of(replace(PLAN, learners=None))


def test_no_return_of_td3_goes_from_one_turn_into_the_next_turns_day(tmp_path: Path) -> None:
    plan = replace(PLAN, algorithm="td3", learners=(0,), steps=110, rounds=2, self_play=0)
    room = Sb3Classroom(plan, tmp_path, None)
    room.run()
    buffer = room.pupils["shared"].model.replay_buffer
    left = field_index("time_left")
    clock = buffer.observations[: buffer.pos, :, left]
    begins = clock[1:] > clock[:-1]
    ended = (buffer.dones[: buffer.pos - 1] + buffer.timeouts[: buffer.pos - 1]) > 0
    assert begins.any() and ended[begins].all()
    assert ((buffer.dones[: buffer.pos] > 0) & (buffer.timeouts[: buffer.pos] > 0)).sum() == 0
