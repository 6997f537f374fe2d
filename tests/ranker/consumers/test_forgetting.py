"""Erasing a user reaches everything that a service keeps of them, whatever else goes on or fails."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="pip install 'tribid[serve]'")
from tests.ranker.consumers.house import KEY, journey
from tribid.models.actions.log import read_log
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.consumers.config import ActionsConfig, ConsumersConfig, SlotsConfig
from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.consumers.forgetting import ForgettingProfiles
from tribid.ranker.live import LiveRanker
from tribid.ranker.open_time.choices import Choices
from tribid.ranker.open_time.tokens import Signer, Slot, read_keys
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import ConsumerEvent
from tribid.ranker.service.app import make_app
from tribid.ranker.service.errors import ServiceError

SALT = b"0123456789abcdef"
USERS = ("somebody-7", "somebody-8")


def serve(folder: Path, check: Callable[[httpx.AsyncClient, Consumers], Awaitable[None]]) -> None:
    """Let ``check`` ask a service that keeps everything that it can keep of users, in ``folder``."""
    (folder / "slots.key").write_text(KEY)
    (folder / "salt").write_bytes(SALT)
    config = ConsumersConfig(
        profiles=str(folder / "profiles"), tend_s=0.02,
        slots=SlotsConfig(key_file=folder / "slots.key", choices=folder / "kept" / "choices"),
        actions=ActionsConfig(journal=folder / "kept" / "log", salt_file=folder / "salt"),
    )  # fmt: skip

    async def inner() -> None:
        live = await LiveRanker.open(journey(), {"it": "truthful"})
        kept = await Consumers.open(journey(), config)
        transport = httpx.ASGITransport(make_app(live, consumers=kept))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            await check(http, kept)
        await live.close()
        await kept.close()

    asyncio.run(inner())


async def be_known(http: httpx.AsyncClient, folder: Path, user: str) -> None:
    """Leave traces of a user in the profiles, in what slots showed, and in the log of actions."""
    viewed = {"id": "v", "kind": "view", "user": user, "item": 33}
    assert (await http.post("/v1/events", json={"consumers": [viewed]})).status_code == 200
    slot = Slot(user=user, message="m", slot=0, issued_ms=0, expires_ms=2**50)
    token = Signer(read_keys(folder / "slots.key")).token("open", slot)
    assert (await http.get(f"/v1/slot/{token}.png")).status_code == 200
    assert (await http.post("/v1/actions", json={"user": user})).status_code == 200
    declined = {"id": "d", "user": user, "kind": "not_taken", "action": "club"}
    told = await http.post("/v1/actions/events", json={"events": [declined]})
    assert told.json()["receipts"][0]["status"] == "accepted"


def found(folder: Path, *names: bytes) -> list[str]:
    """The files that hold one of these names."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file.name for file in files if any(name in file.read_bytes() for name in names))


def test_an_erased_user_is_in_no_file_by_name_or_hash_and_everybody_else_stays(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        assert kept.slots is not None
        for user in USERS:
            await be_known(http, tmp_path, user)
        hasher = ActionJournal(tmp_path / "other", ("x",), SALT)
        names = {
            user: (user.encode(), hasher.hashed(user).encode(), kept.slots.choices._digest(user.encode()))
            for user in USERS
        }
        hasher.close()
        for name in names["somebody-7"]:
            assert len(found(tmp_path, name)) == 1, "the traces that are to go are there at first"
        others = found(tmp_path, *names["somebody-8"])
        assert len(others) == 3
        assert (await http.delete("/v1/profile/somebody-7")).json() == {"erased": True}
        assert found(tmp_path, *names["somebody-7"]) == []
        assert len(found(tmp_path, *names["somebody-8"])) == 3
        assert (await http.get("/v1/profile/somebody-8")).json()["viewed"][0][0] == 33
        assert (await http.delete("/v1/profile/somebody-7")).json() == {"erased": False}

    serve(tmp_path, check)
    assert len(read_log(tmp_path / "kept" / "log").listings) == 1


def test_a_user_who_left_no_profile_is_forgotten_too(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        assert (await http.post("/v1/actions", json={"user": "somebody-7"})).status_code == 200
        assert (await http.delete("/v1/profile/somebody-7")).json() == {"erased": True}

    serve(tmp_path, check)
    assert not read_log(tmp_path / "kept" / "log").listings


def test_a_line_that_cannot_be_read_stops_no_erasure(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await be_known(http, tmp_path, "somebody-7")
        with open(next((tmp_path / "kept" / "log").glob("actions-*")), "ab") as file:
            file.write(b"garbage\n")
        assert (await http.delete("/v1/profile/somebody-7")).json() == {"erased": True}

    serve(tmp_path, check)
    log = read_log(tmp_path / "kept" / "log")
    assert not log.listings and not log.events


def test_a_disk_that_is_full_is_a_503_that_names_no_file_and_asking_again_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(one: object, other: object) -> None:
        raise OSError(28, "No space left on device", str(other))

    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        assert kept.slots is not None
        await be_known(http, tmp_path, "somebody-7")
        store, digest = kept.profiles._store, kept.slots.choices._digest(b"somebody-7")  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            patch.setattr(store, "erase", _known)
            patch.setattr("tribid.files.os.replace", full)
            refused = await http.delete("/v1/profile/somebody-7")
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["message"] == "the user is not yet erased everywhere; ask again"
        await be_known(http, tmp_path, "somebody-8")  # and everything is still kept
        assert (await http.delete("/v1/profile/somebody-7")).json() == {"erased": True}
        assert found(tmp_path, b"somebody-7", digest) == []
        assert len(found(tmp_path, b"somebody-8", kept.slots.choices._digest(b"somebody-8"))) == 2

    serve(tmp_path, check)
    assert len(read_log(tmp_path / "kept" / "log").events) == 1


async def _known(user: str) -> bool:
    return True


def test_the_service_goes_on_while_a_user_is_forgotten(tmp_path: Path) -> None:
    """A forgetting that lasts until the loop has done something else would wait for ever on the loop itself."""

    async def work() -> None:
        went_on = threading.Event()
        store = await JournaledProfiles.open(tmp_path)
        profiles = ForgettingProfiles(store, [lambda user: int(went_on.wait(10))])
        erasing = asyncio.create_task(profiles.erase("ann"))
        await profiles.take([ConsumerEvent(id="e", kind="view", user="bob", item=1)])
        went_on.set()
        assert await erasing
        await profiles.close()

    asyncio.run(work())


def test_the_store_comes_first_and_each_part_is_tried(tmp_path: Path) -> None:
    done: list[str] = []

    class Store:
        async def erase(self, user: str) -> bool:
            if done == ["gone"]:
                raise ProfilesUnavailableError
            done.append("store")
            return False

    def broken(user: str) -> int:
        done.append("broken")
        raise ValueError(f"{tmp_path} is no file")

    def counts(user: str) -> int:
        done.append("counts")
        return 2

    async def work() -> None:
        profiles = ForgettingProfiles(Store(), [broken, counts])  # type: ignore[arg-type]
        with pytest.raises(ServiceError, match="ask again") as refusal:
            await profiles.erase("ann")
        assert refusal.value.status == 503 and str(tmp_path) not in str(refusal.value)
        assert done == ["store", "broken", "counts"]
        assert await ForgettingProfiles(Store(), [counts]).erase("ann")  # type: ignore[arg-type]
        done[:] = ["gone"]
        with pytest.raises(ProfilesUnavailableError):
            await profiles.erase("ann")
        assert done == ["gone"], "what the store still holds would be joined again to what is forgotten"

    asyncio.run(work())


def test_users_are_forgotten_one_at_a_time(tmp_path: Path) -> None:
    busy, most = 0, 0
    lock = threading.Lock()

    def forget(user: str) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.005)
        with lock:
            busy -= 1
        return 1

    async def work() -> None:
        store = await JournaledProfiles.open(tmp_path)
        profiles = ForgettingProfiles(store, [forget])
        assert await asyncio.gather(*(profiles.erase(user) for user in "abcdef")) == [True] * 6
        await profiles.close()

    asyncio.run(work())
    assert most == 1


def test_what_slots_showed_and_the_log_may_be_forgotten_while_they_are_written(tmp_path: Path) -> None:
    async def work() -> None:
        store = await JournaledProfiles.open(tmp_path / "profiles")
        choices = Choices(journal=tmp_path / "choices")
        profiles = ForgettingProfiles(store, [choices.forget])
        slots = [Slot(user=f"u{n}", message="m", slot=0, issued_ms=0, expires_ms=9) for n in range(200)]
        for slot in slots[:100]:
            choices.show(slot, 1, 1)
        erasing = [asyncio.create_task(profiles.erase(f"u{n}")) for n in range(0, 100, 10)]
        for slot in slots[100:]:
            choices.show(slot, 2, 1)
            await asyncio.sleep(0)
        assert await asyncio.gather(*erasing) == [True] * 10
        choices.close()
        again = Choices(journal=tmp_path / "choices")
        assert [again.of(slot) is None for slot in slots] == [n < 100 and n % 10 == 0 for n in range(200)]
        again.close()
        await profiles.close()

    asyncio.run(work())
