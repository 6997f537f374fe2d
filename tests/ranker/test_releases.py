"""Who answers whom: releases become active, take a share, stand in the shadow, and step back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.ranker import house
from tribid.agents.bidder import BidderSpace
from tribid.agents.policy_file import save_lineup
from tribid.agents.testing import random_policy
from tribid.cli.serving import rank
from tribid.envs.action import to_action
from tribid.envs.observation import field_index
from tribid.envs.scenario import load_scenario
from tribid.ranker import Event, LiveRanker, Request
from tribid.ranker.decided import Decided
from tribid.ranker.releases import share_of

TINY = load_scenario("tiny").with_changes(generated__budget_share=1e4)
POLICIES = {"old": "fixed:0.5", "new": "fixed:2", "other": "pid"}


def run(check: Callable[[LiveRanker], Awaitable[None]], **given: Any) -> None:
    house.run(check, TINY, policies=POLICIES, **given)


def test_the_first_release_answers_unless_another_is_named() -> None:
    async def check(ranker: LiveRanker) -> None:
        assert ranker.policies().active == "old"
        assert (await ranker.rank(Request(request=0, user=0))).policy.startswith("old@")

    run(check)

    async def named(ranker: LiveRanker) -> None:
        assert ranker.policies().active == "other"

    run(named, active="other")


def test_a_hot_swap_takes_effect_between_two_requests_and_a_rollback_at_once() -> None:
    async def check(ranker: LiveRanker) -> None:
        def multipliers(page: Any) -> set[float]:
            return {round(slot.multiplier, 6) for slot in page.slots}

        assert multipliers(await ranker.rank(Request(request=0, user=0))) == {0.5}
        told = await ranker.activate("new")
        assert (told.active, told.previous) == ("new", "old")
        assert multipliers(await ranker.rank(Request(request=1, user=0))) == {2.0}
        told = await ranker.rollback()
        assert (told.active, told.previous) == ("old", "new")
        page = await ranker.rank(Request(request=2, user=0))
        assert multipliers(page) == {0.5} and page.fallbacks == ()

    run(check)


def test_nothing_is_lost_while_releases_are_swapped() -> None:
    async def check(ranker: LiveRanker) -> None:
        async def swap() -> None:
            for name in ("new", "other", "old") * 5:
                await ranker.activate(name)
                await asyncio.sleep(0)

        async def ask(first: int) -> list[Any]:
            return [await ranker.rank(Request(request=first + r, user=r % 50)) for r in range(50)]

        _, *pages = await asyncio.gather(swap(), *(ask(1000 * k) for k in range(4)))
        assert sum(len(part) for part in pages) == 200
        assert all(page.slots for part in pages for page in part)

    run(check)


def test_users_fall_evenly_between_0_and_1() -> None:
    places = np.sort([share_of(user) for user in range(2_000)])
    assert np.abs(places - (np.arange(2_000) + 0.5) / 2_000).max() < 1.63 / 2_000**0.5  # Kolmogorov, one in a hundred


def test_a_split_gives_each_arm_its_share_of_users_who_stay_with_it() -> None:
    async def check(ranker: LiveRanker) -> None:
        told = await ranker.activate("new", mode="split", percent=30)
        assert told.split == {"new": 30.0}
        first = {u: (await ranker.rank(Request(request=u, user=u))).policy.split("@")[0] for u in range(50)}
        again = {u: (await ranker.rank(Request(request=100 + u, user=u))).policy.split("@")[0] for u in range(50)}
        assert first == again
        assert first == {u: "new" if share_of(u) < 0.3 else "old" for u in range(50)}
        await ranker.activate("new", mode="split", percent=60)
        more = {u: (await ranker.rank(Request(request=200 + u, user=u))).policy.split("@")[0] for u in range(50)}
        assert {u for u in first if first[u] == "new"} < {u for u in more if more[u] == "new"}
        told = await ranker.activate("new", mode="off")
        assert told.split == {}
        assert (
            await ranker.rank(Request(request=300, user=min(u for u in more if more[u] == "new")))
        ).policy.startswith("old")

    run(check)


def test_users_fall_evenly() -> None:
    places = np.array([share_of(user) for user in range(20_000)])
    assert abs((places < 0.3).mean() - 0.3) < 0.01
    assert places.min() >= 0.0 and places.max() < 1.0


def test_a_shadow_decides_but_never_reserves_nor_is_shown() -> None:
    log: list[Decided] = []

    async def check(ranker: LiveRanker) -> None:
        await ranker.activate("new", mode="shadow")
        for r in range(20):
            page = await ranker.rank(Request(request=r, user=r))
            assert page.policy.startswith("old@")
        shown, shadow = log[::2], log[1::2]
        assert {one.arm for one in shown} == {"active"} and {one.arm for one in shadow} == {"shadow"}
        assert all(np.allclose(one.multiplier, 2.0) for one in shadow)
        assert [one.id for one in shown] == [one.id for one in shadow]
        held = sum(one.held_micros for one in ranker.state().advertisers.values())
        assert held == sum(int(one.price_micros.sum()) for one in shown)

    run(check, log=log.append)


def test_propensities_are_shares_of_users_whose_page_shows_the_candidate() -> None:
    log: list[Decided] = []

    async def check(ranker: LiveRanker) -> None:
        await ranker.activate("other", mode="split", percent=25)
        for r in range(30):
            await ranker.rank(Request(request=r, user=r))
        for one in log:
            assert set(np.unique(one.propensity).tolist()) <= {0.0, 0.25, 0.75, 1.0}
            assert one.propensity.sum() == pytest.approx((one.winner >= 0).sum(), abs=1.0)
            own = 0.25 if one.arm == "split" else 0.75
            assert (one.propensity[one.winner[one.winner >= 0]] >= own).all()
        assert {one.arm for one in log} == {"active", "split"}
        await ranker.activate("other", mode="off")
        await ranker.rank(Request(request=100, user=0))
        assert set(log[-1].propensity.tolist()) == {0.0, 1.0}

    run(check, log=log.append)


def test_each_release_sees_the_markets_results_and_its_own_last_actions() -> None:
    async def check(ranker: LiveRanker) -> None:
        await ranker.activate("other", mode="shadow")
        await ranker.activate("new", mode="split", percent=50)
        seen: dict[str, list[Any]] = {name: [] for name in POLICIES}

        def spied(name: str) -> None:
            lineup = ranker._releases.all[name]._lineup
            act = lineup.act

            def spy(observations: Any, states: Any) -> Any:
                seen[name].append(observations)
                return act(observations, states)

            lineup.act = spy  # type: ignore[method-assign]

        for name in POLICIES:
            spied(name)
        last = field_index("last_action_0")
        for tick in range(1, 8):
            before = {name: ranker._releases.all[name].multipliers for name in POLICIES}
            page = await ranker.rank(Request(request=tick, user=tick, tick=tick))
            await ranker.events([Event(id=f"{tick}", kind="click", decision=page.id, slot=0)])
            for name, multipliers in before.items():
                assert multipliers is not None
                own = seen[name][-1]
                np.testing.assert_array_equal(own[:, last], to_action(multipliers[:, 0], 8.0).astype(np.float32))
                np.testing.assert_array_equal(np.delete(own, last, 1), np.delete(seen["old"][-1], last, 1))
        assert len({seen[name][-1][:, last].tobytes() for name in POLICIES}) == 3
        assert seen["old"][-1][:, field_index("clicks_day")].sum() > 0

    run(check)


def test_a_release_that_fails_keeps_its_multipliers_or_bids_its_base() -> None:
    async def check(ranker: LiveRanker) -> None:
        def broken(*given: Any) -> Any:
            raise RuntimeError("no more")

        for name in ("old", "new"):
            ranker._releases.all[name]._lineup.act = broken  # type: ignore[method-assign]
        page = await ranker.rank(Request(request=0, user=0, tick=1))
        assert page.fallbacks == ("bid:last_multipliers",)
        assert {round(slot.multiplier, 6) for slot in page.slots} == {0.5}
        with pytest.raises(ValueError, match="name is 'new', whose policy fails"):
            await ranker.activate("new")
        ranker._releases.all["old"].forget()  # as where it failed at the first tick that it was asked for
        page = await ranker.rank(Request(request=1, user=0, tick=2))
        assert page.fallbacks == ("bid:base_bid",) and {slot.multiplier for slot in page.slots} == {1.0}
        assert ranker.state().fallbacks == {"bid:last_multipliers": 1, "bid:base_bid": 1}
        assert list(ranker.state().failed_refreshes.values()) == [2]

    run(check)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("nobody", {}, "no release named 'nobody'; choose old, new, other"),
        ("new", {"mode": "loud"}, "mode is 'loud'; allowed is active, shadow, split or off"),
        ("new", {"percent": 5}, "percent is 5; allowed is a share with mode 'split'"),
        ("new", {"mode": "split"}, "percent is None; allowed is a share with mode 'split'"),
        ("new", {"mode": "split", "percent": 81}, "percent is 81; allowed is above 0 to 80"),
        ("new", {"mode": "split", "percent": float("nan")}, "percent is nan"),
        ("new", {"mode": "split", "percent": 0}, "percent is 0"),
        ("old", {"mode": "off"}, "mode is 'off', but release 'old' is active; allowed is to activate another"),
        ("old", {"mode": "split", "percent": 5}, "mode is 'split', but release 'old' is active"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_and_changes_nothing(name: str, given: dict[str, Any], told: str) -> None:
    async def check(ranker: LiveRanker) -> None:
        before = await ranker.activate("other", mode="split", percent=20)
        with pytest.raises(ValueError, match=told):
            await ranker.activate(name, **given)
        assert ranker.policies() == before

    run(check)


def test_there_is_nothing_to_roll_back_to_at_first() -> None:
    async def check(ranker: LiveRanker) -> None:
        with pytest.raises(ValueError, match="active is 'old', which replaced none"):
            await ranker.rollback()

    run(check)


def test_a_release_tells_what_it_is(tmp_path: Path) -> None:
    policy = random_policy(BidderSpace.of(TINY))
    save_lineup({"p": policy}, {"adv_01": "p", "adv_03": "p"}, tmp_path, scenario=TINY)

    async def check() -> None:
        ranker = await LiveRanker.open(TINY, {"learnt": tmp_path, "rule": "pid"})
        learnt, rule = ranker.policies().releases
        assert (learnt.name, learnt.kind, learnt.advertisers) == ("learnt", "mlp", ("adv_01", "adv_03"))
        assert len(learnt.version) == 12 and learnt.version != rule.version
        assert rule.kind == "rule" and rule.advertisers == ranker.names

    asyncio.run(check())


def test_a_releases_version_and_kind_are_those_of_the_weights_that_it_bids_with(tmp_path: Path) -> None:
    space = BidderSpace.of(TINY)
    save_lineup({"p": random_policy(space)}, {"adv_01": "p"}, tmp_path / "one", scenario=TINY)
    save_lineup({"p": random_policy(space, seed=1)}, {"adv_01": "p"}, tmp_path / "two", scenario=TINY)

    async def version(folder: Path) -> str:
        return (await LiveRanker.open(TINY, {"it": folder})).policies().releases[0].version

    async def check() -> None:
        one, two = [await version(tmp_path / name) for name in ("one", "two")]
        assert one != two
        for file in (tmp_path / "two").glob("p.*"):  # policies that the folder's lineup does not name
            (tmp_path / "one" / f"q{file.suffix}").write_bytes(file.read_bytes())
        assert await version(tmp_path / "one") == one

    asyncio.run(check())


def test_policies_of_another_scenario_are_served_only_where_that_is_asked_for(tmp_path: Path) -> None:
    save_lineup({"p": random_policy(BidderSpace.of(TINY))}, {"adv_01": "p"}, tmp_path, scenario=TINY)
    other = TINY.with_changes(generated__budget_share=1.0)

    async def check() -> None:
        with pytest.raises(ValueError, match=r"scenario is tiny .*--any-scenario"):
            await LiveRanker.open(other, {"it": tmp_path})
        ranker = await LiveRanker.open(other, {"it": tmp_path}, any_scenario=True)
        assert (await ranker.rank(Request(request=0, user=0))).policy.startswith("it@")

    asyncio.run(check())
    command = typer.Typer()
    command.command()(rank)
    asked = ["--scenario", "tiny", "--policies", str(tmp_path), "--request", '{"request": 1, "user": 2}']
    refused = CliRunner().invoke(command, asked)  # TINY has other budgets than the scenario that ships
    assert refused.exit_code == 2 and "--any-scenario" in refused.stderr
    taken = CliRunner().invoke(command, [*asked, "--any-scenario"])
    assert taken.exit_code == 0 and '"policy":"own@' in taken.stdout


@pytest.mark.parametrize("name", ["", "a@b", "a/b", "x" * 101])
def test_a_releases_name_must_fit_in_a_path_and_a_label(name: str) -> None:
    with pytest.raises(ValueError, match="release is named"):
        asyncio.run(LiveRanker.open(TINY, {name: "pid"}))


def test_no_release_is_refused() -> None:
    with pytest.raises(ValueError, match="policies are empty"):
        asyncio.run(LiveRanker.open(TINY, {}))
