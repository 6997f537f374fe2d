"""``ActionRanker``: the next best action of one user at a time, in microseconds, and what came of it."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.actions import Action
from tribid.models.actions.features import MAX_CATEGORIES, vector_of
from tribid.models.actions.log import Listed
from tribid.models.actions.next_best_action import NextBestAction
from tribid.models.actions.ranking import name_ranks, proposal, ranked
from tribid.models.actions.rules import REASONS, ActionRules
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.messages import (
    ActionEvent,
    ActionList,
    ActionReceipt,
    ActionRequest,
    Catalogue,
    KnownAction,
    LeftOut,
    ProposedAction,
)
from tribid.ranker.actions.outcomes import Outcomes, Profiles
from tribid.ranker.actions.profile_features import CategoryOf, ProfileFeatures
from tribid.ranker.profile.messages import Profile


class _Served(NamedTuple):
    """A model for this catalogue: ``inputs`` [F] pick its features, ``column`` [A] its output for each action, -1: none."""

    model: NextBestAction | None
    label: str
    inputs: NDArray[np.int64]
    column: NDArray[np.int64]
    known: NDArray[np.bool_]


class ActionRanker:
    """Answers which actions to propose, and records what came of them.

    ``actions`` are proposed by the rules of ``tribid.models.actions.rules``, in the order of
    ``tribid.models.actions.ranking``; a share ``epsilon`` of the answers explores. ``model`` is a folder that
    ``tribid fit actions`` wrote; without one, or before it is there, every score is 0.0 and every order drawn. Actions that
    the model does not know have score 0.0 likewise. ``categories`` and ``category_of`` are the shop's. Without
    ``profiles`` every request must bring its user's profile, or the user is new. ``journal`` gets what is learnt from.

    Raises ValueError for arguments and model files that are not allowed.
    """

    def __init__(
        self, actions: Iterable[Action], *, categories: int = 0, category_of: CategoryOf = lambda item: None,
        model: str | Path | None = None, profiles: Profiles | None = None, journal: ActionJournal | None = None,
        epsilon: float = 0.05, weight_by_value: bool = False, clock_ms: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon is {epsilon}; allowed is 0 to 1")
        if not 0 <= categories <= MAX_CATEGORIES:
            raise ValueError(f"categories are {categories}; allowed are 0 to {MAX_CATEGORIES}")
        self.rules = ActionRules(actions)
        self.epsilon, self.weight_by_value = epsilon, weight_by_value
        self.reader = ProfileFeatures(self.rules.actions, categories, category_of)
        self._profiles, self._journal = profiles, journal
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self._rank = name_ranks(self.rules.names)
        self._folder = None if model is None else Path(model)
        self._served = self._load()
        self._outcomes = Outcomes(self.rules, self.reader, profiles, journal, self._clock_ms)
        self._serial, self._salt = 0, time.time_ns().to_bytes(8, "little")

    @property
    def model(self) -> str:
        """What names the weights in use; empty where there are none."""
        return self._served.label

    async def answer(self, request: ActionRequest) -> ActionList:
        """The actions to propose to a user, first ones first; none to one who opted out."""
        profile = request.profile
        if profile is not None and profile.user != request.user:
            raise ValueError(f"$.profile.user is {profile.user!r:.120}; allowed is the request's user")
        with nullcontext() if self._journal is None else self._journal.under_way():
            if profile is None and self._profiles is not None:
                profile = await self._profiles.profile(request.user)
            return self.ranked(request, Profile(user=request.user) if profile is None else profile)

    def ranked(self, request: ActionRequest, profile: Profile) -> ActionList:
        """The answer for a user with this profile."""
        served = self._served
        at_ms = self._clock_ms() if request.at_ms is None else request.at_ms
        name = self._name(request.user, at_ms) if request.id is None else request.id
        features = self._features(request, profile, at_ms)
        reasons = self.rules.reasons(self.reader.standing(profile, at_ms), at_ms)
        may = np.flatnonzero(reasons == 0)
        propensity = self._propensities(served, features)
        by_value = self.weight_by_value if request.weight_by_value is None else request.weight_by_value
        score = propensity * self.rules.value if by_value else propensity
        shown = proposal(
            ranked(score, self.rules.value, self._rank, may), served.known, limit=request.limit, epsilon=self.epsilon,
            key=_key(request.user, name),
        )  # fmt: skip
        listed = shown.action.tolist()
        actions = tuple(
            ProposedAction(
                action=self.rules.names[one], kind=self.rules.actions[one].kind,
                category=self.rules.actions[one].category, propensity=float(propensity[one]),
                value=float(self.rules.value[one]), score=float(score[one]), explored=explored, chance=chance,
            )
            for one, explored, chance in zip(listed, shown.explored.tolist(), shown.chance.tolist(), strict=True)
        )  # fmt: skip
        if self._journal is not None:
            self._record(self._journal, name, request.user, at_ms, served.label, features, actions, shown.first_chance)
        left_out: tuple[LeftOut, ...] = ()
        if request.explain:
            left_out = tuple(
                LeftOut(self.rules.names[one], REASONS[reasons[one]]) for one in np.flatnonzero(reasons).tolist()
            )
        return ActionList(id=name, user=request.user, model=served.label, actions=actions, left_out=left_out)

    async def events(self, events: Sequence[ActionEvent]) -> list[ActionReceipt]:
        """Record what came of proposals: what was taken to the profile, and all to the journal. Each id counts once.

        Returns when the journal is on the disk. ``OSError`` and ``ProfilesUnavailableError`` where it cannot be kept: then
        the same events are to be told again.
        """
        return await self._outcomes.take(events)

    async def reload(self) -> str:
        """Read the model's folder again and use what is there from the next request on; what names its weights.

        ``ValueError`` where it cannot be used: the model in use stays.
        """
        self._served = await asyncio.to_thread(self._load)
        return self._served.label

    def catalogue(self) -> Catalogue:
        """All actions, and which of them have a model."""
        served = self._served
        return Catalogue(
            model=served.label,
            epsilon=self.epsilon,
            actions=tuple(
                KnownAction(
                    action=action.name, kind=action.kind, value=action.value, expires_ms=action.expires_ms,
                    has_model=bool(known),
                )
                for action, known in zip(self.rules.actions, served.known, strict=True)
            ),
        )  # fmt: skip

    def _load(self) -> _Served:
        """The model in the folder, as this catalogue uses it."""
        count = len(self.rules)
        if self._folder is None or not self._folder.exists():
            return _Served(
                None, "", np.zeros(0, np.int64), np.full(count, -1, np.int64), np.zeros(count, np.bool_)
            )  # fmt: skip
        model = NextBestAction.load(self._folder)
        places = {name: place for place, name in enumerate(self.reader.names)}
        lacking = [name for name in model.features_ if name not in places]
        if lacking:
            raise ValueError(
                f"{self._folder}: the model reads {lacking[0]!r:.60}, which is not known of users here; "
                f"choose {', '.join(self.reader.names[:24])}"
            )
        outputs = {name: place for place, name in enumerate(model.actions_)}
        column = np.array([outputs.get(name, -1) for name in self.rules.names], np.int64)
        return _Served(
            model=model, label=model.digest(),
            inputs=np.array([places[name] for name in model.features_], np.int64), column=column,
            known=(column >= 0) & model.known_[column],
        )  # fmt: skip

    def _features(self, request: ActionRequest, profile: Profile, at_ms: int) -> NDArray[np.float32]:
        features = self.reader.vector(profile, at_ms)
        if request.features:
            given = vector_of(self.reader.names, request.features, place="$.features")
            for name in request.features:
                place = self.reader.names.index(name)
                features[place] = given[place]
        return features

    def _propensities(self, served: _Served, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The propensity [A] of each action of the catalogue, 0.0 without a model."""
        if served.model is None:
            return np.zeros(len(self.rules))
        rates = served.model.predict(features[None, served.inputs])[0].astype(np.float64)
        return np.where(served.known, rates[served.column], 0.0)

    def _name(self, user: str, at_ms: int) -> str:
        """A name for an answer that was given none, never used before."""
        self._serial += 1
        text = f"{user}\0{at_ms}\0{self._serial}"
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=12).hexdigest()

    def _record(
        self, journal: ActionJournal, name: str, user: str, at_ms: int, label: str, features: NDArray[np.float32],
        actions: tuple[ProposedAction, ...], first_chance: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Write the answer down; one that cannot be written is counted and answered all the same."""
        record = Listed(
            id=name, user=journal.hashed(user), time_ms=at_ms, model=label, features=tuple(features.tolist()),
            actions=tuple(one.action for one in actions), propensities=tuple(one.propensity for one in actions),
            chances=tuple(one.chance for one in actions), first_chances=tuple(first_chance.tolist()),
        )  # fmt: skip
        try:
            journal.append([record])
        except OSError:
            return  # journal.lost counts it


def _key(user: str, name: str) -> int:
    """The draw of an answer: a function of who asks and its id, from 0 to 2^63 - 1."""
    digest = hashlib.blake2b(f"{user}\0{name}".encode(), digest_size=8, person=b"tribid-nba").digest()
    return int.from_bytes(digest, "little") >> 1
