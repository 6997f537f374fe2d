"""The checker of the bidder's contract, for bidders of third parties too, and what tests of bidders need."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.networks.mlp import MlpPolicy
from tribid.envs.action import to_multiplier
from tribid.envs.chance import Stream, normals, uniforms
from tribid.envs.market import MarketState, Tick, reset, step
from tribid.envs.observation import bounds, observe
from tribid.envs.scenario import Scenario


def check_bidder(make: Callable[[BidderSpace], Bidder], *, segments: Sequence[int] = (1, 2, 3)) -> None:
    """Raise ``AssertionError`` where a bidder breaks the contract of ``tribid.agents.bidder.Bidder``.

    ``make`` builds one for a space. Checked: shape, type and bounds of actions for one row and for many; that nothing
    is kept between days or instances; that ``predict`` changes no argument; that ``episode_start`` starts a row afresh.

    >>> from tribid.agents.registry import BIDDERS
    >>> check_bidder(BIDDERS["pid"])
    """
    for count in segments:
        space = BidderSpace(segments=count, n_ticks=8)
        for rows in (1, 2, 33):
            _check_actions(make(space), space, rows)
        _check_memory(make, space)
        _check_fresh_rows(make(space), space)


def random_observations(space: BidderSpace, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Observations [count, D] uniform within their bounds."""
    low, high = bounds(space.segments)
    row, place = np.indices((count, len(low)))
    draws = uniforms(seed, Stream.POLICY, request=row, ad=place)[..., 0]
    return (low + draws * (high - low)).astype(np.float32)


def random_policy(space: BidderSpace, hidden: Sequence[int] = (8, 8), seed: int = 0, **changes: Any) -> MlpPolicy:
    """A network with normal weights; ``changes`` are arguments of ``MlpPolicy``."""
    weights: list[Any] = []
    biases: list[Any] = []
    for layer, (into, out) in enumerate(pairwise((space.observation_size, *hidden, space.segments))):
        index = np.arange(out * into).reshape(out, into)
        weights.append(normals(seed, Stream.POLICY, day=layer, request=index)[..., 0] / np.sqrt(into))
        biases.append(normals(seed, Stream.POLICY, day=layer, request=np.arange(out), ad=1)[..., 0])
    numbers = space.observation_size
    settings: dict[str, Any] = {"mean": np.full(numbers, 0.1), "std": np.full(numbers, 0.5), "clip": 10.0, **changes}
    return MlpPolicy(space=space, weights=tuple(weights), biases=tuple(biases), **settings)


def play(scenario: Scenario, seed: int, lineup: Lineup) -> tuple[MarketState, list[Tick]]:
    """One day: the state after it, and its ticks."""
    state = reset(scenario, seed)
    states: dict[str, Any] = {}
    ticks = []
    while not state.done:
        actions, states = lineup.act(observe(state), states)
        state, tick = step(state, to_multiplier(actions, scenario.rules.max_multiplier))
        ticks.append(tick)
    return state, ticks


def _check_actions(bidder: Bidder, space: BidderSpace, rows: int) -> None:
    state = None
    for tick in range(3):
        actions, state = bidder.predict(random_observations(space, rows, tick), state)
        assert actions.shape == (rows, space.segments), f"actions are {actions.shape}, not {(rows, space.segments)}"
        assert actions.dtype == np.float32, f"actions are {actions.dtype}, not float32"
        assert (np.abs(actions) <= 1).all(), "an action lies outside [-1, 1]"


def _check_memory(make: Callable[[BidderSpace], Bidder], space: BidderSpace) -> None:
    seen = [random_observations(space, 3, tick) for tick in range(4)]

    def day(bidder: Bidder) -> bytes:
        given, state = b"", None
        for observation in seen:
            before = observation.copy()
            actions, after = bidder.predict(observation, state)
            again, _ = bidder.predict(observation, state)
            assert (actions == again).all(), "predict changes the state that it is given, or keeps one of its own"
            assert (observation == before).all(), "predict changes the observation that it is given"
            given, state = given + actions.tobytes(), after
        return given

    one = make(space)
    first = day(one)
    assert day(one) == first, "a second day with the same bidder differs: it keeps something between days"
    assert day(make(space)) == first, "another instance acts differently"


def _check_fresh_rows(bidder: Bidder, space: BidderSpace) -> None:
    _, state = bidder.predict(random_observations(space, 3, 1))
    seen = random_observations(space, 3, 2)
    fresh, _ = bidder.predict(seen)
    carried, _ = bidder.predict(seen, state)
    mixed, _ = bidder.predict(seen, state, np.array([True, False, False]))
    assert (mixed[0] == fresh[0]).all(), "a row with episode_start does not act as at the start of a day"
    assert (mixed[1:] == carried[1:]).all(), "episode_start of one row changes another"
