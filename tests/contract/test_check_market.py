"""The public checker ``check_market`` passes our environment in its variants and fails each of many injected faults."""

from typing import Any

import numpy as np
import pytest

from tribid.envs.feed_auction_v0 import FeedAuction
from tribid.envs.scenario import load_scenario
from tribid.envs.testing import check_market

VARIANTS = {
    "tiny": {},
    "expected values": {"rules__outcomes": "expected"},
    "vcg": {"rules__auction": "vcg"},
    "first price": {"rules__auction": "first_price"},
    "segments by state": {"rules__segments": "state"},
    "segments by cluster": {"rules__segments": "cluster"},
    "no feedback": {"rules__feedback": "none"},
    "paid on impression": {"rules__charge": "impression", "rules__ocpc__strategy": "off", "rules__reserve": 0.001},
    "surplus": {"reward__part": "surplus"},
    "mix": {"reward__part": "mix"},
    "platform floor": {"reward__part": "platform_floor"},
    "a tick without requests": {"world__traffic__ticks": 3, "world__traffic__curve": (1, 0, 3)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_environment_passes_in_every_variant(variant: str) -> None:
    scenario = load_scenario("tiny").with_changes(**VARIANTS[variant])
    check_market(lambda: FeedAuction(scenario), days=2)


def test_a_small_auctionnet_passes() -> None:
    scenario = load_scenario("auctionnet").with_changes(world__traffic__requests=2400, world__traffic__ticks=12)
    check_market(lambda: FeedAuction(scenario), days=1)


def _late(env: FeedAuction) -> bool:
    """In the fifth tick of the second day: a fault that a look at the first steps does not find."""
    state = env.market_state
    return state.day.day == 1 and state.tick == 5


class ResetIgnoresItsSeed(FeedAuction):
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=None if seed is None else 0, options=options)


class AnotherDayWhenResetAgain(FeedAuction):
    """A generator made once and not seeded by reset."""

    resets = 0

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.resets += 1
        return super().reset(seed=seed, options={"day": self.resets})


class _Faulty(FeedAuction):
    """One part of a late step replaced."""

    def step(self, actions: Any) -> Any:
        step = list(super().step(actions))
        if _late(self):
            self.spoil(*step)
        return tuple(step)

    def spoil(self, observations: Any, rewards: Any, terminations: Any, truncations: Any, infos: Any) -> None:
        raise NotImplementedError


class NondeterministicFromTheSecondStep(FeedAuction):
    def step(self, actions: Any) -> Any:
        if self.market_state.tick >= 1:
            noise = np.random.default_rng().uniform(-0.1, 0.1)
            actions = {agent: np.clip(action + noise, -1, 1) for agent, action in actions.items()}
        return super().step(actions)


class RewardIsRandomByAnUlp(_Faulty):
    def spoil(self, observations: Any, rewards: Any, *rest: Any) -> None:
        rewards["adv_02"] += np.random.default_rng().uniform(1e-12, 1e-9)


class ObservationHoldsNaN(_Faulty):
    def spoil(self, observations: Any, *rest: Any) -> None:
        observations["adv_01"][7] = np.nan


class ObservationIsOutOfItsSpace(_Faulty):
    def spoil(self, observations: Any, *rest: Any) -> None:
        observations["adv_01"][0] = 1.5


class ObservationIsFloat64(_Faulty):
    def spoil(self, observations: Any, *rest: Any) -> None:
        observations["adv_01"] = observations["adv_01"].astype(np.float64)


class ObservationHasAnotherShape(_Faulty):
    def spoil(self, observations: Any, *rest: Any) -> None:
        observations["adv_01"] = observations["adv_01"][:-1]


class ObservationIsAList(_Faulty):
    def spoil(self, observations: Any, *rest: Any) -> None:
        observations["adv_01"] = observations["adv_01"].tolist()


class ObservationIsMissing(_Faulty):
    def spoil(self, observations: Any, *rest: Any) -> None:
        del observations["adv_01"]


class _FaultyReward(_Faulty):
    wrong: Any = None

    def spoil(self, observations: Any, rewards: Any, *rest: Any) -> None:
        rewards["adv_03"] = self.wrong


class RewardIsNaN(_FaultyReward):
    wrong = float("nan")


class RewardIsInfinite(_FaultyReward):
    wrong = float("inf")


class RewardIsText(_FaultyReward):
    wrong = "0.5"


class RewardIsANumpyNumber(_FaultyReward):
    wrong = np.float64(0.5)


class RewardIsMissing(_Faulty):
    def spoil(self, observations: Any, rewards: Any, *rest: Any) -> None:
        del rewards["adv_03"]


class RewardOfAStranger(_Faulty):
    def spoil(self, observations: Any, rewards: Any, *rest: Any) -> None:
        rewards["nobody"] = 0.0


class TruncationIsAnInteger(_Faulty):
    def spoil(self, observations: Any, rewards: Any, terminations: Any, truncations: Any, infos: Any) -> None:
        truncations["adv_00"] = 0


class TerminationIsANumpyBool(_Faulty):
    def spoil(self, observations: Any, rewards: Any, terminations: Any, truncations: Any, infos: Any) -> None:
        terminations["adv_00"] = np.bool_(False)


class InfoIsNone(_Faulty):
    def spoil(self, observations: Any, rewards: Any, terminations: Any, truncations: Any, infos: Any) -> None:
        infos["adv_00"] = None


class LedgerIsOverspent(_Faulty):
    def spoil(self, observations: Any, rewards: Any, terminations: Any, truncations: Any, infos: Any) -> None:
        infos["adv_00"]["left_micros"] = -1


class StepChangesTheActionsHandedIn(FeedAuction):
    def step(self, actions: Any) -> Any:
        step = super().step(actions)
        for action in actions.values():
            action *= 0.5
        return step


class StateIsRandom(FeedAuction):
    def state(self) -> Any:
        seen = super().state()
        if _late(self):
            seen[3] = np.random.default_rng().uniform(0, 1)
        return seen


class StateIsOutOfItsSpace(FeedAuction):
    def state(self) -> Any:
        return super().state() + np.float32(2.0) * _late(self)


class AgentIsDroppedBeforeTheDayEnds(_Faulty):
    def spoil(self, *step: Any) -> None:
        self.agents = self.agents[1:]


class AgentStaysAfterItsTruncation(_Faulty):
    def spoil(self, observations: Any, rewards: Any, terminations: Any, truncations: Any, infos: Any) -> None:
        truncations["adv_00"] = True


class ZeroBidPays(FeedAuction):
    def step(self, actions: Any) -> Any:
        step = super().step(actions)
        for agent, action in actions.items():
            if (action == -1).all():
                step[4][agent]["spend_micros"] = 10
        return step


class ZeroBidWins(FeedAuction):
    """The least action bids a little instead of nothing."""

    def step(self, actions: Any) -> Any:
        return super().step({agent: np.maximum(action, -0.2) for agent, action in actions.items()})


class NaNIsTakenForZero(FeedAuction):
    def step(self, actions: Any) -> Any:
        return super().step({agent: np.nan_to_num(action) for agent, action in actions.items()})


class TooLargeActionsAreClipped(FeedAuction):
    def step(self, actions: Any) -> Any:
        return super().step({agent: np.clip(action, -1, 1) for agent, action in actions.items()})


class MissingActionsAreFilledIn(FeedAuction):
    def step(self, actions: Any) -> Any:
        return super().step({agent: np.zeros(1, np.float32) for agent in self.agents} | actions)


class StrangersActionsAreIgnored(FeedAuction):
    def step(self, actions: Any) -> Any:
        return super().step({agent: action for agent, action in actions.items() if agent in self.agents})


class OrderOfActionsMatters(FeedAuction):
    def step(self, actions: Any) -> Any:
        return super().step(dict(zip(self.agents, actions.values(), strict=True)))


class SpaceIsMadeAnew(FeedAuction):
    def action_space(self, agent: str) -> Any:
        space = super().action_space(agent)
        return type(space)(space.low, space.high, dtype=space.dtype.type)


class SpaceIsUnbounded(FeedAuction):
    def __init__(self) -> None:
        super().__init__("tiny")
        space = self.observation_spaces["adv_00"]
        wide = type(space)(-np.inf, np.inf, space.shape, np.float32)
        self.observation_spaces = dict.fromkeys(self.possible_agents, wide)


FAULTS = {
    ResetIgnoresItsSeed: "reset ignores its seed",
    AnotherDayWhenResetAgain: "a day played again",
    NondeterministicFromTheSecondStep: "two instances",
    RewardIsRandomByAnUlp: "two instances",
    ObservationHoldsNaN: "day 1 tick 5: observation of adv_01 is not finite",
    ObservationIsOutOfItsSpace: "observation of adv_01 is out of its space",
    ObservationIsFloat64: "observation of adv_01 is float64",
    ObservationHasAnotherShape: r"observation of adv_01 has shape \(35,\)",
    ObservationIsAList: "observation of adv_01 is a list",
    ObservationIsMissing: "observations of",
    RewardIsNaN: "reward of adv_03 is nan",
    RewardIsInfinite: "reward of adv_03 is inf",
    RewardIsText: "reward of adv_03 is a str",
    RewardIsANumpyNumber: "reward of adv_03 is a float64",
    RewardIsMissing: "rewards of",
    RewardOfAStranger: "rewards of",
    TruncationIsAnInteger: "truncation of adv_00 is not a bool",
    TerminationIsANumpyBool: "termination of adv_00 is not a bool",
    InfoIsNone: "info of adv_00 is not a dict",
    LedgerIsOverspent: "adv_00 has -1 micros left",
    StepChangesTheActionsHandedIn: "step changed the action",
    StateIsRandom: "two instances",
    StateIsOutOfItsSpace: r"state\(\) is out of state_space",
    AgentIsDroppedBeforeTheDayEnds: "agents are",
    AgentStaysAfterItsTruncation: "agents are",
    ZeroBidPays: "adv_00 bid zero and has spend_micros 10",
    ZeroBidWins: "adv_00 bid zero and has wins",
    NaNIsTakenForZero: "an action of NaN is taken",
    TooLargeActionsAreClipped: "an action above the space is taken",
    MissingActionsAreFilledIn: "a missing agent is taken",
    StrangersActionsAreIgnored: "an unknown agent is taken",
    OrderOfActionsMatters: "actions handed in in reverse order",
    SpaceIsMadeAnew: "action_space is made anew",
    SpaceIsUnbounded: "a space has an infinite bound",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_an_environment_with_a_fault_fails_for_that_fault(fault: type[FeedAuction]) -> None:
    make = fault if fault is SpaceIsUnbounded else lambda: fault("tiny")
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        check_market(make)  # type: ignore[arg-type]
