"""``check_market``: a conformance suite for parallel market environments, stronger than PettingZoo's own.

PettingZoo's ``parallel_api_test`` misses NaN observations, wrong dtypes and shapes and infinite rewards, and its
``parallel_seed_test`` compares one step (both as of 1.27). Here every step of whole days is checked, exactly.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from pettingzoo import ParallelEnv

Transcript = list[tuple[Any, ...]]


def check_market(make: Callable[[], ParallelEnv[str, Any, Any]], *, days: int = 2, seed: int = 0) -> None:
    """Check a parallel environment over whole days; raises ``AssertionError`` that says what, where and which agent.

    ``make`` builds a fresh environment. Checked: every observation's and reward's dtype, shape, membership and
    finiteness; keys and flags of every dict; exact determinism over full days of two instances, of a day played again,
    and of ``state()`` and the ledger in ``infos``; another seed gives another day; inputs are not mutated; the order in
    which actions are handed in does not matter; a zero bid neither wins nor pays; spend never exceeds the budget.
    """
    first, second = make(), make()
    _check_spaces(first)
    actions = _actions(first, seed)
    played = [_play(env, seed, days, actions) for env in (first, second, first)]
    _check_same(played[0], played[1], "two instances")
    _check_same(played[0], played[2], "a day played again after reset(seed)")
    other = _play(first, seed + 1, days, actions)
    assert any(
        not np.array_equal(a[1][agent], b[1][agent]) for a, b in zip(played[0], other, strict=False) for agent in a[1]
    ), "another seed gives exactly the same observations: reset ignores its seed"
    _check_same(played[0], _play(make(), seed, days, actions, reverse=True), "actions handed in in reverse order")
    _check_closed(make, seed)
    _check_misuse(make())


def _check_spaces(env: ParallelEnv[str, Any, Any]) -> None:
    assert env.possible_agents, "possible_agents is empty"
    assert len(set(env.possible_agents)) == len(env.possible_agents), "possible_agents holds a name twice"
    for agent in env.possible_agents:
        for space in (env.observation_space(agent), env.action_space(agent)):
            low, high = space.low, space.high
            assert np.isfinite(low).all() and np.isfinite(high).all(), f"{agent}: a space has an infinite bound"
            assert (low < high).all(), f"{agent}: a space has low >= high"
        assert env.observation_space(agent) is env.observation_space(agent), f"{agent}: observation_space is made anew"
        assert env.action_space(agent) is env.action_space(agent), f"{agent}: action_space is made anew"


def _actions(env: ParallelEnv[str, Any, Any], seed: int) -> Callable[[str, int, int], Any]:
    names = {agent: k for k, agent in enumerate(env.possible_agents)}
    spaces = {agent: env.action_space(agent) for agent in env.possible_agents}

    def action(agent: str, day: int, tick: int) -> Any:
        rng = np.random.default_rng((seed, names[agent], day, tick))
        low, high = spaces[agent].low, spaces[agent].high
        drawn = rng.uniform(low, high).astype(spaces[agent].dtype)
        return np.clip(drawn, low, high)

    return action


def _play(
    env: ParallelEnv[str, Any, Any],
    seed: int,
    days: int,
    actions: Callable[[str, int, int], Any],
    reverse: bool = False,
) -> Transcript:
    transcript: Transcript = []
    for day in range(days):
        observations, infos = env.reset(seed=seed) if day == 0 else env.reset()
        assert sorted(env.agents) == sorted(env.possible_agents), "agents after reset are not possible_agents"
        _check_observations(env, observations, day, 0)
        transcript.append(("reset", observations, infos, env.state().copy()))
        tick = 0
        while env.agents:
            order = list(reversed(env.agents)) if reverse else list(env.agents)
            given = {agent: actions(agent, day, tick) for agent in order}
            copies = {agent: action.copy() for agent, action in given.items()}
            agents = list(env.agents)
            step = env.step(given)
            for agent, action in given.items():
                assert np.array_equal(action, copies[agent]), (
                    f"day {day} tick {tick}: step changed the action of {agent}"
                )
            _check_step(env, agents, step, day, tick)
            transcript.append(("step", *step, env.state().copy()))
            tick += 1
            assert tick < 1_000_000, "the day does not end"
    return transcript


def _check_observations(env: ParallelEnv[str, Any, Any], observations: dict[str, Any], day: int, tick: int) -> None:
    where = f"day {day} tick {tick}"
    assert set(observations) == set(env.possible_agents), f"{where}: observations of {sorted(observations)}"
    for agent, seen in observations.items():
        space = env.observation_space(agent)
        assert isinstance(seen, np.ndarray), f"{where}: observation of {agent} is a {type(seen).__name__}"
        assert seen.dtype == space.dtype, f"{where}: observation of {agent} is {seen.dtype}, space says {space.dtype}"
        assert seen.shape == space.shape, f"{where}: observation of {agent} has shape {seen.shape}, not {space.shape}"
        assert np.isfinite(seen).all(), (
            f"{where}: observation of {agent} is not finite at {np.argwhere(~np.isfinite(seen))}"
        )
        outside = np.argwhere((seen < space.low) | (seen > space.high))
        assert len(outside) == 0, f"{where}: observation of {agent} is out of its space at {outside.tolist()}"
    state, space = env.state(), env.state_space
    assert state.dtype == space.dtype and space.contains(state), f"{where}: state() is out of state_space"


def _check_step(env: ParallelEnv[str, Any, Any], agents: list[str], step: tuple[Any, ...], day: int, tick: int) -> None:
    observations, rewards, terminations, truncations, infos = step
    where = f"day {day} tick {tick}"
    _check_observations(env, observations, day, tick + 1)
    for name, given in zip(("rewards", "terminations", "truncations", "infos"), step[1:], strict=True):
        assert set(given) == set(agents), f"{where}: {name} of {sorted(given)}, agents are {sorted(agents)}"
    for agent in agents:
        assert type(rewards[agent]) is float, f"{where}: reward of {agent} is a {type(rewards[agent]).__name__}"
        assert np.isfinite(rewards[agent]), f"{where}: reward of {agent} is {rewards[agent]}"
        assert type(terminations[agent]) is bool, f"{where}: termination of {agent} is not a bool"
        assert type(truncations[agent]) is bool, f"{where}: truncation of {agent} is not a bool"
        assert isinstance(infos[agent], dict), f"{where}: info of {agent} is not a dict"
        if "left_micros" in infos[agent]:
            left = infos[agent]["left_micros"]
            assert isinstance(left, int) and left >= 0, f"{where}: {agent} has {left} micros left"
    ended = [agent for agent in agents if terminations[agent] or truncations[agent]]
    expected = [agent for agent in agents if agent not in ended]
    assert env.agents == expected, f"{where}: agents are {env.agents}, not {expected}"


def _check_same(one: Transcript, two: Transcript, what: str) -> None:
    assert len(one) == len(two), f"{what}: {len(one)} and {len(two)} records"
    for number, (a, b) in enumerate(zip(one, two, strict=True)):
        for part, (left, right) in enumerate(zip(a[1:], b[1:], strict=True)):
            if isinstance(left, dict):
                same = left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
            else:
                same = _equal(left, right)
            assert same, f"{what}: record {number}, part {part} differs: {left!r:.200} and {right!r:.200}"


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    return bool(left == right)


def _check_closed(make: Callable[[], ParallelEnv[str, Any, Any]], seed: int) -> None:
    """An agent at its lowest action bids nothing: it wins and pays nothing while the others go on."""
    env = make()
    env.reset(seed=seed)
    quiet = env.possible_agents[0]
    while env.agents:
        given = {agent: env.action_space(agent).high.copy() for agent in env.agents}
        given[quiet] = env.action_space(quiet).low.copy()
        _, _, _, _, infos = env.step(given)
        for key in ("wins", "spend_micros"):
            if key in infos[quiet]:
                assert infos[quiet][key] == 0, f"{quiet} bid zero and has {key} {infos[quiet][key]}"


def _check_misuse(env: ParallelEnv[str, Any, Any]) -> None:
    env.reset(seed=0)
    fine = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents}
    agent = env.agents[0]
    space = env.action_space(agent)
    nan = np.full(space.shape, np.nan, np.float32)
    lacking = {name: action for name, action in fine.items() if name != agent}
    for what, given in (
        ("an action of NaN", fine | {agent: nan}),
        ("an action above the space", fine | {agent: space.high * 2 + 1}),
        ("an action of another shape", fine | {agent: np.zeros((*(space.shape or ()), 2), np.float32)}),
        ("a missing agent", lacking),
        ("an unknown agent", fine | {"nobody": fine[agent]}),
    ):
        try:
            env.step(given)
        except ValueError:
            continue
        raise AssertionError(f"{what} is taken without a ValueError")
