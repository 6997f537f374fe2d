import pytest

from tribid.models.actions.examples import DAY_MS, ActionExamples, examples_of
from tribid.models.actions.log import ActionLog, Happened, Listed, events_of
from tribid.models.actions.world import START_MS, ActionWorld, ActionWorldRule
from tribid.models.store import KINDS


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "next_best_action", ("tribid.models.actions.next_best_action", "NextBestAction"))


@pytest.fixture(scope="session")
def world() -> ActionWorld:
    return ActionWorld(ActionWorldRule(users=1500, visits=4500, categories=2), 3)


@pytest.fixture(scope="session")
def records(world: ActionWorld) -> list[Listed | Happened]:
    return list(world.log())


@pytest.fixture(scope="session")
def examples(world: ActionWorld, records: list[Listed | Happened]) -> ActionExamples:
    listings = {(one.user, one.id): one for one in records if isinstance(one, Listed)}
    events = tuple(one for one in records if isinstance(one, Happened))
    log = ActionLog(world.names, listings, events, 0, 0)
    return examples_of(events_of(log, world.rules.names).events, len(world.rules), until_ms=START_MS + 56 * DAY_MS)
