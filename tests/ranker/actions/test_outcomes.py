"""What came of proposals is counted once, and a receipt says what became of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.ranker.actions.house import NOW_MS, SALT, Shelf, named, run
from tribid.models.actions.log import Happened, read_log
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.messages import ActionEvent, ActionReceipt, ActionRequest
from tribid.ranker.actions.ranker import ActionRanker
from tribid.ranker.consumers.forgetting import ForgettingProfiles
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import Profile
from tribid.ranker.profile.settings import ProfileSettings

DAY_MS = 86_400_000


def taking(name: str, user: str = "ann", time_ms: int | None = None, action: str = "a") -> ActionEvent:
    return ActionEvent(id=name, user=user, kind="taken", action=action, time_ms=time_ms)


def ranker_of(folder: Path, shelf: Shelf) -> tuple[ActionRanker, ActionJournal]:
    journal = ActionJournal(folder, ActionRanker(named("a")).reader.names, SALT)
    return ActionRanker(named("a", "b"), profiles=shelf, journal=journal, clock_ms=lambda: NOW_MS), journal


def written(folder: Path) -> list[str]:
    return [event.id for event in read_log(folder).events] if list(folder.glob("actions-*")) else []


def test_a_taking_that_the_profiles_do_not_count_is_neither_called_accepted_nor_learnt_from(tmp_path: Path) -> None:
    async def work() -> list[list[ActionReceipt]]:
        settings = ProfileSettings(keep_days=30.0, clock_ms=lambda: NOW_MS)
        store = await JournaledProfiles.open(tmp_path / "profiles", settings)
        journal = ActionJournal(tmp_path / "log", ActionRanker(named("a")).reader.names, SALT)
        ranker = ActionRanker(named("a", "b"), profiles=store, journal=journal, clock_ms=lambda: NOW_MS)
        told = [await ranker.events([taking("now", "bob")])]
        await store.erase("bob")
        old = taking("old", time_ms=NOW_MS - 40 * DAY_MS)
        for _ in range(2):
            told.append(await ranker.events([old, old, taking("new"), taking("before", "bob", NOW_MS - 1)]))
        assert await store.profile("bob") is None
        journal.close()
        await store.close()
        return told

    told = run(work())
    assert [[one.status for one in receipts] for receipts in told] == [
        ["accepted"], ["late", "late", "accepted", "late"], ["late", "late", "duplicate", "late"],
    ]  # fmt: skip
    assert written(tmp_path / "log") == ["now", "new"]


def test_a_repetition_after_a_restart_is_told_by_the_profiles(tmp_path: Path) -> None:
    shelf = Shelf()
    for turn, told in enumerate(("accepted", "duplicate")):
        ranker, journal = ranker_of(tmp_path, shelf)
        (receipt,) = run(ranker.events([taking("e")]))
        assert receipt == ActionReceipt(id="e", status=told), turn  # type: ignore[arg-type]
        journal.close()
    assert written(tmp_path) == ["e"] and read_log(tmp_path).events[0].features is not None


def test_long_ids_that_differ_at_their_end_are_two_events() -> None:
    shelf = Shelf()
    events = [taking("x" * 199 + "a", action="a"), taking("x" * 199 + "b", action="b")]
    assert [one.status for one in run(ActionRanker(named("a", "b"), profiles=shelf).events(events))] == ["accepted"] * 2
    assert len({event.id for event in shelf.seen}) == 2 and shelf.all["ann"].actions.keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("changed", "field"), [({"id": "e\0"}, "id"), ({"user": "\0"}, "user"), ({"listing": "\ud800"}, "listing")]
)
def test_a_batch_with_a_text_that_cannot_be_kept_leaves_no_trace(
    tmp_path: Path, changed: dict[str, str], field: str
) -> None:
    shelf = Shelf()
    ranker, journal = ranker_of(tmp_path, shelf)
    given = {"id": "e", "user": "ann", "kind": "taken", "action": "a", **changed}
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"^\$\.events\[1\]\.{field} "):
            run(ranker.events([taking("good"), ActionEvent(**given)]))  # type: ignore[arg-type]
    assert shelf.seen == [] and written(tmp_path) == []
    assert run(ranker.events([taking("good")]))[0].status == "accepted"
    journal.close()


def test_a_repetition_that_comes_meanwhile_shares_the_fate_of_the_first(tmp_path: Path) -> None:
    shelf = Shelf()
    ranker, journal = ranker_of(tmp_path, shelf)
    keep = journal.keep

    async def fails(records: list[Happened]) -> None:
        await asyncio.sleep(0.01)
        raise OSError(5, "broken")

    async def slow(records: list[Happened]) -> None:
        await asyncio.sleep(0.01)
        await keep(records)

    async def both() -> list[Any]:
        event = ActionEvent(id="e", user="ann", kind="viewed", action="a")
        return await asyncio.gather(*(ranker.events([event]) for _ in range(2)), return_exceptions=True)

    async def work() -> None:
        journal.keep = fails  # type: ignore[assignment, method-assign]
        assert [type(one) for one in await both()] == [OSError, OSError]
        journal.keep = slow  # type: ignore[assignment, method-assign]
        assert [one[0].status for one in await both()] == ["accepted", "duplicate"]

    run(work())
    journal.close()
    assert written(tmp_path) == ["e"]


def test_what_is_learnt_from_a_taking_is_what_was_known_before_it(tmp_path: Path) -> None:
    ranker, journal = ranker_of(tmp_path, Shelf())
    run(ranker.events([taking("e"), taking("f", action="b")]))
    journal.close()
    place = ranker.reader.names.index("actions_taken")
    first, second = read_log(tmp_path).events
    assert first.features is not None and second.features is not None
    assert first.features[place] == second.features[place] == 0.0


def test_a_store_that_is_gone_leaves_nothing_in_the_log(tmp_path: Path) -> None:
    class Gone(Shelf):
        async def take(self, events: object) -> list[object]:  # type: ignore[override]
            raise ProfilesUnavailableError

    ranker, journal = ranker_of(tmp_path, Gone())
    with pytest.raises(ProfilesUnavailableError):
        run(ranker.events([taking("e")]))
    journal.close()
    assert written(tmp_path) == []


@pytest.mark.parametrize("kind", ["viewed", "taken"])
def test_a_user_erased_while_their_event_is_under_way_is_not_in_the_log_afterwards(tmp_path: Path, kind: str) -> None:
    class Slow(Shelf):
        async def profile(self, user: str) -> Profile | None:
            found = await super().profile(user)
            if user == "bob":
                reached.set()
                await may_go_on.wait()
            return found

        async def erase(self, user: str) -> bool:
            return self.all.pop(user, None) is not None

    reached, may_go_on = asyncio.Event(), asyncio.Event()
    shelf = Slow(Profile(user="ann", actions={"b": 1}), Profile(user="bob"))
    ranker, journal = ranker_of(tmp_path, shelf)

    async def work() -> None:
        batch = [ActionEvent(id=user, user=user, kind=kind, action="a") for user in ("ann", "bob")]  # type: ignore[arg-type]
        telling = asyncio.create_task(ranker.events(batch))
        await reached.wait()  # what was known of ann is read
        whole = ForgettingProfiles(shelf, [journal.forget])  # type: ignore[arg-type]
        erasing = asyncio.create_task(whole.erase("ann"))
        await asyncio.wait([erasing], timeout=0.1)
        assert not erasing.done()
        may_go_on.set()
        assert await erasing and [one.status for one in await telling] == ["accepted", "accepted"]

    run(work())
    journal.close()
    assert written(tmp_path) == ["bob"]


def test_a_user_erased_while_an_answer_is_under_way_is_not_in_the_log_afterwards(tmp_path: Path) -> None:
    class Slow(Shelf):
        async def profile(self, user: str) -> Profile | None:
            found = await super().profile(user)
            reached.set()
            await may_go_on.wait()
            return found

        async def erase(self, user: str) -> bool:
            return self.all.pop(user, None) is not None

    reached, may_go_on = asyncio.Event(), asyncio.Event()
    shelf = Slow(Profile(user="ann"))
    ranker, journal = ranker_of(tmp_path, shelf)

    async def work() -> None:
        answering = asyncio.create_task(ranker.answer(ActionRequest(user="ann")))
        await reached.wait()  # what was known of ann is read
        erasing = asyncio.create_task(ForgettingProfiles(shelf, [journal.forget]).erase("ann"))  # type: ignore[arg-type]
        await asyncio.wait([erasing], timeout=0.1)
        may_go_on.set()
        assert (await answering).actions and await erasing

    run(work())
    hashed = journal.hashed("ann").encode()
    journal.close()
    assert not any(hashed in path.read_bytes() for path in tmp_path.glob("actions-*"))


def test_an_erasure_waits_for_the_batch_that_is_under_way_and_for_none_behind_it(tmp_path: Path) -> None:
    class Held(Shelf):
        async def profile(self, user: str) -> Profile | None:
            reached.release()
            await goes_on[user].wait()
            return await super().profile(user)

    reached, goes_on = asyncio.Semaphore(0), {user: asyncio.Event() for user in ("ann", "bob")}
    ranker, journal = ranker_of(tmp_path, Held())

    async def work() -> None:
        told = []
        for user in ("ann", "bob"):
            event = ActionEvent(id=user, user=user, kind="viewed", action="a")
            told.append(asyncio.create_task(ranker.events([event])))
        await reached.acquire()
        forgetting = asyncio.create_task(asyncio.to_thread(journal.forget, "ann"))
        await asyncio.wait([forgetting], timeout=0.1)
        goes_on["ann"].set()
        await reached.acquire()  # the next batch is under way
        assert await forgetting == 1
        goes_on["bob"].set()
        await asyncio.gather(*told)

    run(work())
    journal.close()
    assert written(tmp_path) == ["bob"]
