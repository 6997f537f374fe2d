import pytest

from tribid.models.store import KINDS


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "next_best_action", ("tribid.models.actions.next_best_action", "NextBestAction"))
