"""A day is the same in every process: after a restart, under any hash seed, threads or not."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from tribid.envs import feed_auction_v0, market
from tribid.envs.scenario import load_scenario

# Digest of everything that two days of an environment tell: what is printed must not depend on the process.
CODE = """
import hashlib
import numpy as np
from tribid.envs import feed_auction_v0
from tribid.envs.scenario import load_scenario

scenario = load_scenario({name!r}).with_changes(**{changes!r})
env = feed_auction_v0.parallel_env(scenario=scenario)
told = hashlib.sha256()
for day in range(2):
    observations, infos = env.reset(seed=11) if day == 0 else env.reset()
    tick = 0
    while env.agents:
        actions = dict()
        for k, agent in enumerate(env.agents):
            rng = np.random.default_rng((day, tick, k))
            actions[agent] = rng.uniform(-1, 1, env.action_space(agent).shape).astype(np.float32)
        observations, rewards, _, _, infos = env.step(actions)
        for agent in observations:
            told.update(observations[agent].tobytes() + repr((rewards[agent], sorted(infos[agent].items()))).encode())
        told.update(env.state().tobytes())
        tick += 1
print(told.hexdigest(), scenario.hash)
"""

MARKETS = {
    "tiny": ("tiny", {}),
    "segments": ("tiny", {"rules__segments": "cluster", "rules__outcomes": "expected"}),
    "auctionnet": ("auctionnet", {"world__traffic__requests": 2400, "world__traffic__ticks": 12}),
}


def run_elsewhere(name: str, changes: dict[str, object], **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(name=name, changes=changes)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("market_name", MARKETS)
def test_a_day_is_the_same_in_every_process_and_under_every_hash_seed(market_name: str) -> None:
    name, changes = MARKETS[market_name]
    told = {run_elsewhere(name, changes, PYTHONHASHSEED=seed) for seed in ("0", "1", "987654")}
    assert len(told) == 1
    assert len(told.pop()) > 64


def test_numbers_of_threads_change_nothing() -> None:
    told = {
        run_elsewhere("tiny", {}, NUMBA_NUM_THREADS=n, OMP_NUM_THREADS=n, OPENBLAS_NUM_THREADS=n) for n in ("1", "2")
    }
    assert len(told) == 1


def _digest(seed: int) -> str:
    state, told = market.reset(load_scenario("tiny"), seed), hashlib.sha256()
    while not state.done:
        state, tick = market.step(state, np.ones(5))
        for array in tick.slots:
            told.update(array.tobytes())
    return told.hexdigest()


def test_markets_that_are_played_in_turns_do_not_touch_one_another() -> None:
    seeds = range(4)
    alone = [_digest(seed) for seed in seeds]
    assert len(set(alone)) == len(alone)
    states = [market.reset(load_scenario("tiny"), seed) for seed in seeds]
    told = [hashlib.sha256() for _ in seeds]
    while not states[0].done:
        for i in seeds:
            states[i], tick = market.step(states[i], np.ones(5))
            for array in tick.slots:
                told[i].update(array.tobytes())
    assert [t.hexdigest() for t in told] == alone


def test_worlds_dropped_from_the_cache_are_rebuilt_the_same() -> None:
    before = _digest(3)
    for k in range(12):  # more than build_world keeps
        market.reset(load_scenario("tiny").with_changes(world__seed=100 + k), 0)
    assert _digest(3) == before


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    np.random.seed(1)  # noqa: NPY002 - the global generator is what this is about
    kept = np.random.get_state()[1].copy()  # noqa: NPY002
    first = _digest(0)
    assert np.array_equal(np.random.get_state()[1], kept)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert _digest(0) == first


def test_an_environment_that_is_copied_in_mid_day_goes_on_the_same() -> None:
    import copy
    import pickle  # noqa: TID251 - how a process pool hands an environment on

    env = feed_auction_v0.parallel_env(scenario="tiny")
    env.reset(seed=1)
    env.step({agent: np.zeros(1, np.float32) for agent in env.agents})
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    while env.agents:
        actions = {agent: np.full(1, 0.3, np.float32) for agent in env.agents}
        step = env.step(actions)
        for twin in twins:
            other = twin.step(actions)
            assert step[1] == other[1]
            assert step[4] == other[4]
            assert all(np.array_equal(step[0][agent], other[0][agent]) for agent in step[0])
