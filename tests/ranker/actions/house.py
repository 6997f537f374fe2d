"""What the tests of the next best action share: actions, models with known propensities, and a store of profiles."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tribid.envs.actions import Action
from tribid.models.actions.features import feature_names
from tribid.models.actions.next_best_action import NextBestAction
from tribid.ranker.profile.messages import ConsumerEvent, ConsumerReceipt, Profile

SALT = b"0123456789abcdef"
NOW_MS = 1_780_000_000_000


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def model_of(table: Mapping[str, Sequence[float]], categories: int) -> NextBestAction:
    """A model that gives a user of category c alone the propensity ``table[action][c]``; None of them: no model."""
    names, features = tuple(table), feature_names(categories)
    weight = np.zeros((len(features), len(names)), np.float32)
    for place, row in enumerate(table.values()):
        rates = np.clip(np.array(row, np.float64), 1e-12, 1 - 1e-12)
        weight[-categories:, place] = np.log(rates / (1 - rates))
    count = len(features)
    return NextBestAction.restored(
        {"model": "logistic", "fitted": {"actions": names, "features": features}}, None,
        {"known": np.array([max(row) > 0 for row in table.values()]), "slope": np.ones(len(names), np.float32),
         "intercept": np.zeros(len(names), np.float32), "mean": np.zeros(count, np.float32),
         "std": np.ones(count, np.float32), "log": np.zeros(count, np.bool_), "weight0": weight,
         "bias0": np.zeros(len(names), np.float32)},
    )  # fmt: skip


def saved(folder: Path, table: Mapping[str, Sequence[float]], categories: int = 1) -> Path:
    model_of(table, categories).save(folder)
    return folder


def named(*names: str, **given: Any) -> tuple[Action, ...]:
    return tuple(Action(name=name, **given) for name in names)


class Shelf:
    """Profiles in a dict; ``joined`` is all that it understands, and it counts each id once."""

    def __init__(self, *profiles: Profile) -> None:
        self.all = {profile.user: profile for profile in profiles}
        self.seen: list[ConsumerEvent] = []

    async def profile(self, user: str) -> Profile | None:
        return self.all.get(user)

    async def take(self, events: Sequence[ConsumerEvent]) -> list[ConsumerReceipt]:
        receipts = []
        for event in events:
            assert event.kind == "joined" and event.action is not None and event.time_ms is not None
            known = any((one.user, one.id) == (event.user, event.id) for one in self.seen)
            if not known:
                self.seen.append(event)
                self.all.setdefault(event.user, Profile(user=event.user)).actions[event.action] = event.time_ms
            receipts.append(ConsumerReceipt(id=event.id, status="duplicate" if known else "accepted"))
        return receipts
