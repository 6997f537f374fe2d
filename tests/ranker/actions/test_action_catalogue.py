"""The catalogue beside the log of actions is that of the server that has the log open."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="pip install 'tribid[serve]'")
from tests.ranker.consumers.house import CLUB, journey
from tribid.envs.scenario import Scenario
from tribid.models.actions.fit import CATALOGUE_FILE
from tribid.ranker.consumers import consumers as module
from tribid.ranker.consumers.config import ActionsConfig, ConsumersConfig
from tribid.ranker.consumers.consumers import Consumers


def config(folder: Path, store: str) -> ConsumersConfig:
    (folder / "salt").write_bytes(b"0123456789abcdef")
    actions = ActionsConfig(journal=folder / "log", salt_file=folder / "salt")
    return ConsumersConfig(profiles=str(folder / store), actions=actions)


def offering(*names: str) -> Scenario:
    return journey().with_changes(world__actions=tuple(CLUB.model_copy(update={"name": name}) for name in names))


def test_a_server_that_is_refused_leaves_the_catalogue_of_the_running_one(tmp_path: Path) -> None:
    async def work() -> None:
        running = await Consumers.open(offering("club"), config(tmp_path, "one"))
        catalogue = (tmp_path / "log" / CATALOGUE_FILE).read_bytes()
        with pytest.raises(ValueError, match="log is open in another process"):
            await Consumers.open(offering("other"), config(tmp_path, "two"))
        assert (tmp_path / "log" / CATALOGUE_FILE).read_bytes() == catalogue
        await running.close()
        with pytest.raises(ValueError, match="has no actions to propose"):
            await Consumers.open(offering(), config(tmp_path, "two"))
        assert (tmp_path / "log" / CATALOGUE_FILE).read_bytes() == catalogue
        await (await Consumers.open(offering("other"), config(tmp_path, "two"))).close()
        assert (tmp_path / "log" / CATALOGUE_FILE).read_bytes() != catalogue

    asyncio.run(work())


def test_a_catalogue_that_cannot_be_written_lets_go_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "no space")

    async def work() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(module, "write_json", full)
            with pytest.raises(OSError, match="no space") as told:  # holds on to what was opened and not closed
                await Consumers.open(offering("club"), config(tmp_path, "one"))
        await (await Consumers.open(offering("club"), config(tmp_path, "one"))).close()
        assert told.value.strerror == "no space"

    asyncio.run(work())
