"""The YAML that says what a service keeps of consumers: what it may hold, and how it is told what is wrong."""

import asyncio
from pathlib import Path

import pytest

from tests.ranker.consumers.house import KEY, journey
from tribid.envs.scenario import load_scenario
from tribid.ranker.consumers.config import ActionsConfig, ConsumersConfig, SlotsConfig, load_config
from tribid.ranker.consumers.consumers import Consumers


def written(folder: Path, content: str) -> Path:
    file = folder / "consumers.yaml"
    file.write_text(content, encoding="utf-8")
    return file


def test_only_where_profiles_are_kept_must_be_said(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "profiles: runs/profiles"))
    assert config.slots is None and config.actions.model is None and config.stock is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", "profiles: Field required"),
        ("profiles: x\nslot: {}", "slot: Extra inputs are not permitted; allowed are profiles, prefix, keep_days"),
        ("profiles: x\nslots: {key: k}", "slots.key: Extra inputs are not permitted; allowed are key_file, choices"),
        ("profiles: x\nactions: {modle: m}", "not permitted; allowed are model, journal, salt_file, epsilon"),
        ("profiles: x\nkeep_days: 0", "keep_days: Input should be greater than 0"),
        ("profiles: x\nslots: {choices: c}", "slots.key_file: Field required"),
        ("profiles: x\nactions: {journal: j}", "actions: journal is j, salt_file None; allowed is both or neither"),
        ("- profiles", "holds list; allowed is a mapping"),
        ("profiles: [", "is not YAML"),
        ("profiles: " + "[" * 5_000, "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_field(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"consumers\.yaml") as refusal:
        load_config(written(tmp_path, content))
    assert told in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.yaml cannot be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_redis_needs_its_url_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIBID_REDIS", raising=False)
    with pytest.raises(ValueError, match="TRIBID_REDIS is not set"):
        asyncio.run(Consumers.open(load_scenario("tiny"), ConsumersConfig(profiles="redis")))


def test_a_secret_that_cannot_be_read_is_told_with_its_field(tmp_path: Path) -> None:
    no_file, short = tmp_path / "none", tmp_path / "short"
    short.write_text("x")
    for told, file in (("cannot be read: No such file", no_file), ("has a key that is no 32 or more", short)):
        with pytest.raises(ValueError, match=rf"^slots\.key_file: .*{file.name}.* {told}"):
            SlotsConfig(key_file=file).keys()
    for told, file in (("cannot be read: No such file", no_file), ("salt is 1 bytes; allowed are 16 to 64", short)):
        with pytest.raises(ValueError, match=rf"^actions\.salt_file: .*{file.name}.*{told}"):
            ActionsConfig(journal=tmp_path, salt_file=file).salt()
    with pytest.raises(ValueError, match=r"^actions\.salt_file is missing"):
        ActionsConfig().salt()


def test_an_opening_that_fails_leaves_nothing_locked(tmp_path: Path) -> None:
    wrong = {"profiles": str(tmp_path / "profiles"), "slots": {"key_file": tmp_path / "none.key"}}

    async def check() -> None:
        scenario = load_scenario("tiny")
        for _ in range(2):
            with pytest.raises(ValueError, match=r"slots.key_file: .*none.key cannot be read"):
                await Consumers.open(scenario, ConsumersConfig.model_validate(wrong))
        kept = await Consumers.open(scenario, ConsumersConfig(profiles=str(tmp_path / "profiles")))
        with pytest.raises(ValueError, match="one may have it open at a time"):
            await Consumers.open(scenario, ConsumersConfig(profiles=str(tmp_path / "profiles")))
        await kept.close()

    asyncio.run(check())


def test_a_salt_that_is_not_there_is_told_with_its_field(tmp_path: Path) -> None:
    wrong = {"profiles": str(tmp_path / "p"), "actions": {"journal": tmp_path / "j", "salt_file": tmp_path / "no.salt"}}
    with pytest.raises(ValueError, match=r"actions.salt_file: .*no.salt cannot be read: No such file"):
        asyncio.run(Consumers.open(journey(), ConsumersConfig.model_validate(wrong)))


def test_a_feed_has_no_actions_to_propose(tmp_path: Path) -> None:
    wrong = {"profiles": str(tmp_path / "profiles"), "actions": {"model": tmp_path}}
    with pytest.raises(ValueError, match="tiny has no actions to propose"):
        asyncio.run(Consumers.open(load_scenario("tiny"), ConsumersConfig.model_validate(wrong)))


def test_only_feeds_have_consumers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auctionnet is no feed"):
        asyncio.run(Consumers.open(load_scenario("auctionnet"), ConsumersConfig(profiles=str(tmp_path))))


def test_the_fonts_of_slots_are_the_painters(tmp_path: Path) -> None:
    (tmp_path / "slots.key").write_text(KEY)
    (tmp_path / "x.ttf").write_bytes(b"no font")
    slots = {"key_file": tmp_path / "slots.key", "fonts": [tmp_path / "x.ttf"]}
    config = ConsumersConfig.model_validate({"profiles": str(tmp_path / "profiles"), "slots": slots})
    with pytest.raises(ValueError, match=r"font .*x.ttf cannot be read"):
        asyncio.run(Consumers.open(load_scenario("tiny"), config))
