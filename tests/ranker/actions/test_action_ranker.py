import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranker.actions.house import NOW_MS, SALT, Shelf, model_of, named, run, saved
from tribid.envs.actions import Action, Eligibility
from tribid.envs.stages import ENGAGED, ORDERED, SEEN
from tribid.models.actions.examples import DAY_MS
from tribid.models.actions.features import feature_names
from tribid.models.actions.log import events_of, read_log
from tribid.models.store import CARD_FILE
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.messages import ActionEvent, ActionRequest
from tribid.ranker.actions.profile_features import ProfileFeatures
from tribid.ranker.actions.ranker import ActionRanker
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import Profile

# Users A 11999, B 17141 and C 8103 of the published example; the rest of each row is unknown, and low here.
TABLE = {
    "join the loyalty club": (1.00, 0.71, 0.05),
    "shop for jewellery": (0.86, 0.05, 0.04),
    "shop for beauty": (0.85, 0.04, 0.03),
    "shop for electronics": (0.10, 0.78, 0.02),
    "shop for the smart home": (0.09, 0.66, 0.01),
    "shop for bags and shoes": (0.08, 0.03, 0.60),
    "get the app": (0.07, 0.02, 0.48),
    "shop for clothes": (0.06, 0.01, 0.46),
}
PUBLISHED = {
    "11999": [("join the loyalty club", 1.00), ("shop for jewellery", 0.86), ("shop for beauty", 0.85)],
    "17141": [
        ("shop for electronics", 0.78),
        ("join the loyalty club", 0.71),
        ("shop for the smart home", 0.66),
    ],
    "8103": [("shop for bags and shoes", 0.60), ("get the app", 0.48), ("shop for clothes", 0.46)],
}


def fixture_actions(value: float = 1.0) -> tuple[Action, ...]:
    kinds = {"join the loyalty club": "join_club", "get the app": "app"}
    return tuple(
        Action(name=name, kind=kinds[name], value=value) if name in kinds
        else Action(name=name, kind="buy_in_category", category=place, value=value)
        for place, name in enumerate(TABLE)
    )  # fmt: skip


def ask(ranker: ActionRanker, user: str = "u", **given: object) -> list[str]:
    answer = run(ranker.answer(ActionRequest(user=user, **given)))  # type: ignore[arg-type]
    return [one.action for one in answer.actions]


def test_the_published_table_comes_out_in_its_order_for_all_three_users(tmp_path: Path) -> None:
    ranker = ActionRanker(
        fixture_actions(), categories=3, category_of=lambda item: item, model=saved(tmp_path, TABLE, 3), epsilon=0.0
    )
    for place, (user, rows) in enumerate(PUBLISHED.items()):
        profile = Profile(user=user, viewed=[(place, NOW_MS)])
        answer = run(ranker.answer(ActionRequest(user=user, profile=profile, limit=3, at_ms=NOW_MS)))
        assert [(one.action, round(one.propensity, 2)) for one in answer.actions] == rows
        assert [one.score for one in answer.actions] == sorted((one.score for one in answer.actions), reverse=True)
        assert all(one.chance == 1.0 and not one.explored for one in answer.actions)


def test_equal_propensity_puts_the_higher_value_first_and_value_can_turn_the_order(tmp_path: Path) -> None:
    actions = (Action(name="a", value=1.0), Action(name="b", value=5.0), Action(name="c", value=2.0))
    folder = saved(tmp_path, {"a": (0.5,), "b": (0.5,), "c": (0.9,)})
    ranker = ActionRanker(actions, categories=1, model=folder, epsilon=0.0)
    likes = {"affinity_0": 1.0}
    assert ask(ranker, features=likes) == ["c", "b", "a"]
    assert ask(ranker, features=likes, weight_by_value=True) == ["b", "c", "a"]  # 2.5, 1.8 and 0.5
    by_value = ActionRanker(actions, categories=1, model=folder, epsilon=0.0, weight_by_value=True)
    assert ask(by_value, features=likes) == ["b", "c", "a"]
    assert ask(by_value, features=likes, weight_by_value=False) == ["c", "b", "a"]
    answer = run(by_value.answer(ActionRequest(user="u", features=likes)))
    assert [round(one.score, 6) for one in answer.actions] == [2.5, 1.8, 0.5]


def test_actions_without_data_score_0_come_last_and_are_explored(tmp_path: Path) -> None:
    ranker = ActionRanker(
        named("old", "older", "new", value=3.0), categories=1, epsilon=0.2,
        model=saved(tmp_path, {"old": (0.01,), "older": (0.02,), "few": (0.0,)}),
    )  # fmt: skip
    heads: Counter[str] = Counter()
    for number in range(2000):
        answer = run(ranker.answer(ActionRequest(user="u", id=f"r{number}", features={"affinity_0": 1.0})))
        heads[answer.actions[0].action] += 1
        new = next(one for one in answer.actions if one.action == "new")
        assert new.score == new.propensity == 0.0
        if not any(one.explored for one in answer.actions):
            assert [one.action for one in answer.actions] == ["older", "old", "new"]
    assert heads["new"] / 2000 == pytest.approx(0.2 * (0.5 + 0.5 / 3), abs=0.04)
    assert heads["old"] / 2000 == pytest.approx(0.2 * 0.5 / 3, abs=0.03)


def test_without_a_model_every_score_is_0_and_every_order_drawn(tmp_path: Path) -> None:
    ranker = ActionRanker(named("a", "b", "c"), model=tmp_path / "not there yet")
    orders = set()
    for number in range(60):
        answer = run(ranker.answer(ActionRequest(user="u", id=f"r{number}")))
        assert answer.model == "" and all(one.score == 0.0 and one.explored for one in answer.actions)
        orders.add(tuple(one.action for one in answer.actions))
    assert len(orders) == 6


def test_the_same_request_gets_the_same_answer_in_every_process() -> None:
    one, other = (ActionRanker(named(*"abcdefgh")) for _ in range(2))
    request = ActionRequest(user="u", id="r", at_ms=NOW_MS)
    assert run(one.answer(request)) == run(other.answer(request))
    names = {run(one.answer(ActionRequest(user="u", at_ms=NOW_MS))).id for _ in range(50)}
    assert len(names) == 50


def test_rules_hold_at_the_time_of_the_request_and_are_explained() -> None:
    actions = (
        Action(name="club", kind="join_club"),
        Action(name="members' evening", kind="evening", eligibility=Eligibility(members="members")),
        Action(name="spring sale", kind="sale", expires="2026-06-01"),
        Action(name="survey", kind="survey", repeat_days=2),
        Action(name="second order", kind="order", eligibility=Eligibility(has_ordered=True)),
        Action(name="with adv_00", kind="order", eligibility=Eligibility(stage="interested", brand="adv_00")),
    )
    ranker = ActionRanker(actions)
    june = 1_780_272_000_000
    taken = {"club": june - 5 * DAY_MS, "survey": june - DAY_MS}
    profile = Profile(
        user="u", marks={"adv_00": SEEN, "adv_01": SEEN | ENGAGED | ORDERED}, actions=taken, orders=[(3, june)]
    )
    answer = run(ranker.answer(ActionRequest(user="u", profile=profile, at_ms=june - 1, explain=True)))
    assert {one.action for one in answer.actions} == {"members' evening", "spring sale", "second order"}
    assert {one.action: one.why for one in answer.left_out} == {
        "club": "the user took it, and it is not repeated yet", "survey": "the user took it, and it is not repeated yet",
        "with adv_00": "the user's stage is too low",
    }  # fmt: skip
    later = run(ranker.answer(ActionRequest(user="u", profile=profile, at_ms=june + DAY_MS, explain=True)))
    assert {one.action for one in later.actions} == {"members' evening", "survey", "second order"}
    out = Profile(user="u", refused=True)
    refused = run(ranker.answer(ActionRequest(user="u", profile=out, at_ms=june, explain=True)))
    assert refused.actions == () and {one.why for one in refused.left_out} == {"the user opted out"}
    gone = Profile(user="u", actions={"club": 5}, left={"club": 6})
    assert "members' evening" not in ask(ranker, profile=gone, at_ms=june)


def test_a_taking_reaches_the_profile_and_the_action_is_not_proposed_again(tmp_path: Path) -> None:
    shelf = Shelf()
    journal = ActionJournal(tmp_path, feature_names(0), SALT)
    ranker = ActionRanker(named("app", "club"), profiles=shelf, journal=journal, clock_ms=lambda: NOW_MS)

    async def work() -> None:
        answer = await ranker.answer(ActionRequest(user="ann", id="r1"))
        assert {one.action for one in answer.actions} == {"app", "club"}
        event = ActionEvent(id="e1", user="ann", kind="taken", action="app", listing="r1", time_ms=NOW_MS + 999)
        receipts = await ranker.events([event, event, ActionEvent(id="e2", user="ann", kind="viewed", action="fax")])
        assert [receipt.status for receipt in receipts] == ["accepted", "duplicate", "refused"]
        assert "action is 'fax'" in receipts[2].why
        other = ActionEvent(id="e1", user="ann", kind="taken", action="club")
        assert (await ranker.events([other]))[0].why == "id was used for another event; allowed is a new one"
        assert [one.action for one in (await ranker.answer(ActionRequest(user="ann"))).actions] == ["club"]

    run(work())
    journal.close()
    assert [(event.user, event.action, event.time_ms) for event in shelf.seen] == [("ann", "app", NOW_MS)]
    log = read_log(tmp_path)
    assert len(log.listings) == 2 and len(log.events) == 1 and log.events[0].listing == "r1"
    assert events_of(log, ("app", "club")).events.features.shape == (1, len(feature_names(0)))
    assert b"ann" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_what_the_log_says_of_chances_is_what_the_answer_said(tmp_path: Path) -> None:
    journal = ActionJournal(tmp_path / "log", feature_names(1), SALT)
    ranker = ActionRanker(
        named("a", "b", "c"), categories=1, epsilon=0.5, journal=journal,
        model=saved(tmp_path / "model", {"a": (0.3,), "b": (0.2,)}),
    )  # fmt: skip
    answers = [run(ranker.answer(ActionRequest(user="u", id=f"r{number}", limit=2))) for number in range(30)]
    journal.close()
    listings = read_log(tmp_path / "log").listings
    for answer in answers:
        told = listings[journal.hashed("u"), answer.id]
        assert told.actions == tuple(one.action for one in answer.actions)
        assert told.chances == tuple(one.chance for one in answer.actions) and told.model == answer.model != ""
        assert told.propensities == tuple(one.propensity for one in answer.actions)
        assert 0 < told.first_chances[0] <= told.chances[0]


def test_a_new_model_is_used_without_a_request_that_fails(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", {"a": (0.9,), "b": (0.1,)})
    ranker = ActionRanker(named("a", "b"), categories=1, model=folder, epsilon=0.0)
    first = ranker.model

    async def work() -> set[tuple[str, str]]:
        seen: set[tuple[str, str]] = set()
        done = asyncio.Event()

        async def ask_on() -> None:
            while not done.is_set():
                answer = await ranker.answer(ActionRequest(user="u", features={"affinity_0": 1.0}))
                seen.add((answer.model, answer.actions[0].action))
                await asyncio.sleep(0)

        asking = [asyncio.create_task(ask_on()) for _ in range(8)]
        await asyncio.sleep(0.01)
        saved(folder, {"a": (0.1,), "b": (0.9,)})
        assert await ranker.reload() == ranker.model != first
        await asyncio.sleep(0.01)
        (folder / CARD_FILE).write_text("{}")
        with pytest.raises(ValueError, match=CARD_FILE):
            await ranker.reload()
        await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*asking)
        return seen

    assert run(work()) == {(first, "a"), (ranker.model, "b")}


def test_takings_are_kept_by_a_store_of_profiles_through_its_end(tmp_path: Path) -> None:
    async def work() -> None:
        store = await JournaledProfiles.open(tmp_path)
        ranker = ActionRanker(named("app", "club"), profiles=store)
        event = ActionEvent(id="e", user="ann", kind="taken", action="app")
        assert [one.status for one in await ranker.events([event])] == ["accepted"]
        await store.close()
        again = await JournaledProfiles.open(tmp_path)
        answer = await ActionRanker(named("app", "club"), profiles=again).answer(ActionRequest(user="ann"))
        assert [one.action for one in answer.actions] == ["club"]
        await again.close()

    run(work())


def test_answering_needs_no_training_library(tmp_path: Path) -> None:
    folder = saved(tmp_path, {"a": (0.9,)})
    child = (
        "import asyncio, sys\n"
        "from tribid.models.store import KINDS\n"
        "KINDS['next_best_action'] = ('tribid.models.actions.next_best_action', 'NextBestAction')\n"
        "from tribid.envs.actions import Action\n"
        "from tribid.ranker.actions.messages import ActionRequest\n"
        "from tribid.ranker.actions.ranker import ActionRanker\n"
        "ranker = ActionRanker([Action(name='a')], categories=1, model=sys.argv[1])\n"
        "assert asyncio.run(ranker.answer(ActionRequest(user='u'))).actions\n"
        "print(sorted({'torch', 'sklearn'} & set(sys.modules)))\n"
    )
    told = subprocess.run([sys.executable, "-c", child, str(folder)], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


def test_a_model_of_features_that_are_not_known_here_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, {"a": (0.9, 0.1, 0.5)}, 3)
    with pytest.raises(ValueError, match="the model reads 'affinity_2', which is not known of users here"):
        ActionRanker(named("a"), categories=2, model=folder)
    assert ask(ActionRanker(named("a"), categories=5, model=folder)) == ["a"]


def test_a_model_of_other_actions_leaves_ours_without_data(tmp_path: Path) -> None:
    ranker = ActionRanker(named("b", "z"), categories=1, model=saved(tmp_path, {"a": (0.9,), "z": (0.4,)}), epsilon=0.0)
    answer = run(ranker.answer(ActionRequest(user="u", features={"affinity_0": 1.0})))
    assert [(one.action, round(one.score, 3)) for one in answer.actions] == [("z", 0.4), ("b", 0.0)]
    told = ranker.catalogue()
    assert [(one.action, one.has_model) for one in told.actions] == [("b", False), ("z", True)]


def test_a_thousand_actions_are_ranked_as_a_sort_would(tmp_path: Path) -> None:
    rates = np.random.default_rng(0).random(1000)
    table = {f"a{place:04d}": (float(rate),) for place, rate in enumerate(rates)}
    ranker = ActionRanker(named(*table), categories=1, model=saved(tmp_path, table), epsilon=0.0)
    got = ask(ranker, features={"affinity_0": 1.0}, limit=1000)
    assert got == [f"a{place:04d}" for place in np.argsort(-rates)]


def test_a_request_of_another_users_profile_or_unknown_features_is_refused() -> None:
    ranker = ActionRanker(named("a"), categories=1)
    with pytest.raises(ValueError, match=r"\$.profile.user is 'v'"):
        ask(ranker, profile=Profile(user="v"))
    with pytest.raises(ValueError, match=r"\$.features.country is no feature"):
        ask(ranker, features={"country": 1.0})
    for epsilon in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="epsilon is"):
            ActionRanker(named("a"), epsilon=epsilon)


def test_features_of_a_profile_are_what_the_user_did() -> None:
    reader = ProfileFeatures(
        (Action(name="club", kind="join_club"), Action(name="mail", kind="newsletter")), 2, lambda item: item % 2
    )
    day = NOW_MS - 14 * DAY_MS
    profile = Profile(
        user="u", first_ms=NOW_MS - 100 * DAY_MS, last_ms=NOW_MS - DAY_MS, marks={"a": ENGAGED, "b": ORDERED | ENGAGED},
        viewed=[(2, day), (4, day)], cart={1: day}, orders=[(3, day)], actions={"club": day, "mail": day},
        left={"mail": NOW_MS}, counts={"a": [4, 0, 0, 1, 0, 0, 0, 0], "b": [2] + [0] * 7},
        last={"a": [day, 0, 0, NOW_MS, 0, 0, 0, 0], "b": [NOW_MS] + [0] * 7},
    )  # fmt: skip
    told = dict(zip(reader.names, reader.vector(profile, NOW_MS).tolist(), strict=True))
    assert told["count_view"] == 4.0 and told["count_cart"] == 1.0  # 4 halved by 14 days, and 2
    assert (told["brands_aware"], told["brands_interested"], told["brands_purchased"]) == (2, 2, 1)
    assert (told["days_idle"], told["days_since_order"], told["days_known"]) == (1, 14, 100)
    assert (told["member"], told["newsletter"], told["has_app"], told["actions_taken"]) == (1, 0, 0, 2)
    assert told["affinity_0"] == pytest.approx(2 / 9) and told["affinity_1"] == pytest.approx(7 / 9)
    nobody = dict(zip(reader.names, reader.vector(Profile(user="v"), NOW_MS).tolist(), strict=True))
    assert nobody["days_idle"] == nobody["days_since_order"] == 365 and nobody["days_known"] == 0


WILD = st.integers(-(2**63), 2**63) | st.just(10**300)


@settings(max_examples=100, deadline=None)
@given(WILD, WILD, WILD, st.lists(WILD, max_size=9), st.dictionaries(st.sampled_from(["a", "b"]), WILD))
def test_a_senseless_profile_still_gets_an_answer(
    first: int, last: int, item: int, counts: list[int], actions: dict[str, int]
) -> None:
    model = model_of({"a": (0.9,), "b": (0.1,)}, 1)
    ranker = ActionRanker(named("a", "b", repeat_days=3), categories=1, category_of=lambda one: one)
    profile = Profile(
        user="u", first_ms=first, last_ms=last, marks={"x": first}, viewed=[(item, last)], orders=[(item, first)],
        counts={"x": counts}, last={"x": counts}, actions=actions,
    )  # fmt: skip
    answer = ranker.ranked(ActionRequest(user="u", at_ms=NOW_MS), profile)
    assert len(answer.actions) <= 2
    features = ranker.reader.vector(profile, NOW_MS)
    rates = model.predict(features[None, :])
    assert ((rates >= 0) & (rates <= 1)).all()
