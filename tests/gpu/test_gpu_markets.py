"""Markets in step on a device: days, observations, rewards and errors are those of the host's market."""

import importlib.util
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tribid import gpu
from tribid.envs import market
from tribid.envs.action import to_action, to_multiplier
from tribid.envs.observation import observe
from tribid.envs.reward import REWARDS, score
from tribid.envs.scenario import load_scenario
from tribid.gpu import engine, markets, observation
from tribid.gpu.markets import DeviceMarkets
from tribid.gpu.reward import REWARDS as ON_A_DEVICE

FEED = {"world__traffic__requests": 1500, "world__traffic__ticks": 10, "generated__count": 7}


def slow_but(kept, name):
    """One parameter of many: ``kept`` for every run, the others for the slow ones."""
    return name if name == kept else pytest.param(name, marks=pytest.mark.slow)


def assert_within_an_ulp(found, wanted):
    wanted = wanted.astype(np.float32)
    step = np.spacing(np.maximum(np.abs(wanted), np.finfo(np.float32).tiny))
    np.testing.assert_array_less(np.abs(found.cpu().numpy().astype(np.float64) - wanted), 1.5 * step)


def play_beside_the_host(scenario, device, days, **options):
    played = DeviceMarkets(scenario, 2, device=device, seed=9, **options)
    rng, part = np.random.default_rng(3), scenario.reward
    seen = played.reset()
    for day in range(days):
        hosts = [market.reset(scenario, 9 + m, day) for m in range(2)]
        while not hosts[0].done:
            assert (played.tick, played.day) == (hosts[0].tick, day)
            assert_within_an_ulp(seen, np.stack([observe(host) for host in hosts]))
            shape = (2, len(played.advertisers), played.n_segments)
            given = np.exp(rng.normal(0.0, 0.7, shape)).clip(0.0, scenario.rules.max_multiplier)
            step = played.step(torch.tensor(given, device=device))
            after = [market.step(host, given[m])[0] for m, host in enumerate(hosts)]
            wanted = [REWARDS[part.part](b, a, part) for b, a in zip(hosts, after, strict=True)]
            assert_within_an_ulp(step.rewards, np.stack(wanted))
            hosts, seen = after, step.observations
            assert step.done == hosts[0].done
            if not step.done:
                left = np.stack([host.left_micros for host in hosts])
                np.testing.assert_array_equal(played.state.left_micros.cpu().numpy(), left)
                for name in ("wins", "exposures", "clicks", "conversions", "price"):
                    counts = np.stack([getattr(host.total.counts, name) for host in hosts])
                    np.testing.assert_array_equal(getattr(played.state.total.counts, name).cpu().numpy(), counts)
                assert played.terminal_observations is None
        closing = np.stack([observe(host) for host in hosts])
        assert_within_an_ulp(played.terminal_observations, closing)
        final = [score(host.advertisers, host.total, part.penalty_exponent) for host in hosts]
        np.testing.assert_allclose(played.terminal_score.cpu().numpy(), final, rtol=1e-12)


def test_a_device_pays_every_reward_but_the_credit_that_only_a_journey_gives():
    assert set(REWARDS) - set(ON_A_DEVICE) == {"attributed"}


@pytest.mark.parametrize("part", [slow_but("own", part) for part in sorted(ON_A_DEVICE)])
def test_days_are_the_hosts_under_every_reward(part, device):
    play_beside_the_host(load_scenario("tiny").with_changes(reward__part=part), device, days=2)


FEEDBACKS = ("none", "win_lose", "price", "min_to_win")


@pytest.mark.parametrize("feedback", [slow_but("min_to_win", name) for name in FEEDBACKS])
def test_a_feed_by_state_is_the_hosts_under_every_feedback(feedback, device):
    play_beside_the_host(load_scenario("feed").with_changes(rules__feedback=feedback, **FEED), device, days=1)


@pytest.mark.slow
def test_an_auctionnet_day_is_the_hosts(device):
    scenario = load_scenario("auctionnet")
    changes = {"world__traffic__requests": 800, "world__traffic__ticks": 6}
    play_beside_the_host(scenario.with_changes(**changes), device, days=2)


@pytest.mark.slow
def test_a_tick_too_large_for_one_batch_is_cut_and_changes_nothing(device, monkeypatch):
    monkeypatch.setattr(markets, "_ELEMENTS", dict.fromkeys(("cpu", "cuda"), 2 * 7 * 13))
    play_beside_the_host(load_scenario("feed").with_changes(**FEED), device, days=1)


@pytest.mark.slow
def test_days_repeat_after_the_number_asked_for_and_not_without(device):
    def opening_states(days):
        played = DeviceMarkets("tiny", 1, device=device, days=days)
        ones, played_days = torch.ones_like(played.state.multipliers), []
        played.reset()
        for _ in range(3 * played.n_ticks):
            played_days.append(played.day)
            played.step(ones)
        return played_days[:: played.n_ticks]

    assert opening_states(None) == [0, 1, 2]
    assert opening_states(2) == [0, 1, 0]


def test_a_reset_in_the_middle_opens_the_next_day(device):
    played = DeviceMarkets("tiny", 1, device=device)
    played.reset()
    played.step(torch.ones_like(played.state.multipliers))
    played.reset()
    assert (played.day, played.tick) == (1, 0)


def test_the_score_is_the_days_so_far(device):
    played = DeviceMarkets("tiny", 1, device=device, seed=4)
    played.reset()
    ones, total = torch.ones_like(played.state.multipliers), 0.0
    for _ in range(5):
        total = total + played.step(ones).rewards.double()
    torch.testing.assert_close(played.score(), total, rtol=1e-5, atol=1e-7)


def test_actions_and_multipliers_are_the_hosts():
    actions = np.linspace(-1.2, 1.2, 97)
    found = observation.to_multiplier(torch.tensor(actions), 8.0)
    np.testing.assert_allclose(found.numpy(), to_multiplier(actions, 8.0), rtol=1e-14)
    np.testing.assert_allclose(observation.to_action(found, 8.0).numpy(), to_action(found.numpy(), 8.0), atol=1e-14)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 8.1])
def test_unfit_multipliers_are_refused_with_what_is_allowed(bad):
    played = DeviceMarkets("tiny", 2, device="cpu")
    played.reset()
    multipliers = torch.ones_like(played.state.multipliers)
    multipliers[1, 3] = bad
    with pytest.raises(ValueError, match="0 to 8"):
        played.step(multipliers)
    assert played.tick == 0 and not played.step(torch.ones_like(multipliers)).done


def test_dynamic_ranking_is_refused_with_what_a_device_has_instead():
    scenario = load_scenario("tiny").with_changes(rules__ocpc__strategy="greedy", rules__ocpc__index="dynamic")
    with pytest.raises(ValueError, match=r"index is 'dynamic'; the device engine has f1, f2 and sigma: .* on the CPU"):
        DeviceMarkets(scenario, 2, device="cpu")


def test_multipliers_of_another_shape_or_type_are_refused():
    played = DeviceMarkets("tiny", 2, device="cpu")
    played.reset()
    for wrong in (torch.ones((2, 5, 1)), torch.ones((1, 5, 1), dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"allowed is float64 of shape \(2, 5, 1\)"):
            played.step(wrong)


def test_a_step_before_any_reset_is_refused():
    played = DeviceMarkets("tiny", 1, device="cpu")
    with pytest.raises(ValueError, match="reset"):
        played.step(torch.ones_like(played.state.multipliers))


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_markets", 0), ("num_markets", 2.0), ("num_markets", True), ("days", 0), ("days", 1.5), ("seed", -1),
     ("seed", "3"), ("seed", 0.5), ("seed", 2**63)],
)  # fmt: skip
def test_wrong_numbers_are_refused(field, value):
    told = rf"{field} is {re.escape(repr(value))}; allowed is a whole number from "
    with pytest.raises(ValueError, match=told):
        DeviceMarkets("tiny", device="cpu", **({"num_markets": 1} | {field: value}))


def test_devices_that_are_not_there_are_refused(monkeypatch):
    for name in ("tpu", "meta", ""):
        with pytest.raises(ValueError, match=f"device is {name!r}; allowed is cpu, cuda or cuda:N"):
            DeviceMarkets("tiny", 1, device=name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device is 'cuda', but torch .* sees 0 CUDA.*allowed is cpu"):
        DeviceMarkets("tiny", 1)


@pytest.fixture
def unfit():
    """Markets that check at a day's end, as on a GPU, with one tick of unfit multipliers played."""
    played = DeviceMarkets("tiny", 2, device="cpu")
    played._checks_each_step = False
    played.reset()
    played.step(torch.full_like(played.state.multipliers, 9.0))
    return played


def test_unfit_multipliers_are_told_at_the_days_end_and_a_reset_goes_on(unfit):
    ones = torch.ones_like(unfit.state.multipliers)
    for _ in range(unfit.n_ticks - 2):
        assert not unfit.step(ones).done
    with pytest.raises(ValueError, match="0 to 8"):
        unfit.step(ones)
    assert unfit.terminal_score is None
    with pytest.raises(ValueError, match="reset"):
        unfit.step(ones)
    unfit.reset()
    assert (unfit.day, unfit.tick) == (1, 0) and not unfit.step(ones).done


def test_unfit_multipliers_are_told_at_a_reset_and_not_of_the_next_day(unfit):
    with pytest.raises(ValueError, match="0 to 8"):
        unfit.reset()
    unfit.reset()
    ones = torch.ones_like(unfit.state.multipliers)
    assert [unfit.step(ones).done for _ in range(unfit.n_ticks)][-1]


def test_the_state_keeps_multipliers_of_its_own():
    played = DeviceMarkets("tiny", 1, device="cpu")
    played.reset()
    given = torch.ones_like(played.state.multipliers)
    played.step(given)
    given.fill_(5.0)
    assert bool((played.state.multipliers == 1.0).all())


def test_engines_are_chosen_by_name():
    with pytest.raises(ValueError, match="engine is 'numba'; allowed is auto, eager or triton"):
        DeviceMarkets("tiny", 1, device="cpu", engine="numba")
    law = DeviceMarkets("tiny", 1, device="cpu")._law
    assert engine.engine_for("auto", law, torch.device("cpu")) is engine.settle


def test_auto_says_why_a_gpu_gets_the_eager_engine(monkeypatch):
    law, cuda = DeviceMarkets("tiny", 1, device="cpu")._law, torch.device("cuda")
    if importlib.util.find_spec("triton"):
        with pytest.warns(RuntimeWarning, match=r"takes 'eager'.*rules.squash 0.5; allowed are 0, 1 and 2"):
            assert engine.engine_for("auto", replace(law, squash=0.5), cuda) is engine.settle
    monkeypatch.setitem(sys.modules, "tribid.gpu.fused", None)
    monkeypatch.delattr(gpu, "fused", raising=False)
    with pytest.warns(RuntimeWarning, match=r"takes 'eager'.*fused"):
        assert engine.engine_for("auto", law, cuda) is engine.settle
    with pytest.raises(ImportError):
        engine.engine_for("triton", law, cuda)


def test_triton_names_the_rule_that_it_does_not_serve(device):
    pytest.importorskip("triton", reason="the fused engine needs Triton, which this machine has not")
    from tribid.gpu import fused

    with pytest.raises(ValueError, match=r"rules.squash 0.5; allowed are 0, 1 and 2"):
        DeviceMarkets(load_scenario("tiny").with_changes(rules__squash=0.5), 1, device=device, engine="triton")
    assert engine.engine_for("triton", DeviceMarkets("tiny", 1, device=device)._law, device) is fused.settle
