"""A simulated shop that proposes actions to users whose true propensities are known, so that learnt ones can be judged.

Every draw is a function of seed, user and action. A user takes an action within the optimisation period of first being
shown it with the true propensity, however often it is shown in that time; then a new period may begin. Users differ in
how active, loyal, recent and fond of each category they are, and propensities bend and interact in these, so that a linear
model cannot learn all of them. What is shown first or last makes no difference. All of it is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tribid.envs.actions import Action, Eligibility
from tribid.envs.chance import Stream, normals, uniforms
from tribid.models.actions.examples import DAY_MS
from tribid.models.actions.features import BRANDS, COUNTS, LONGEST_DAYS, feature_names
from tribid.models.actions.log import Happened, Listed
from tribid.models.actions.ranking import name_ranks, proposal, ranked
from tribid.models.actions.rules import ActionRules, Standing

Floats = NDArray[np.float64]

START_MS: Final = 1_767_225_600_000
"""The first millisecond of 2026, UTC, when a simulated log begins."""

_TRAITS, _TASTES, _EFFECTS, _VISIT, _OUTCOME = range(1000, 1005)  # words of the counter


@dataclass(frozen=True, kw_only=True)
class ActionWorldRule:
    """``visits`` of ``users`` over ``days``, each shown ``shown`` actions; ``answered`` of those who decline say so.

    Who takes an action does so after ``delay_days`` on average, within ``period_days`` of first being shown it.
    """

    users: int = 6000
    visits: int = 18_000
    days: float = 56.0
    shown: int = 3
    categories: int = 6
    answered: float = 0.3
    delay_days: float = 2.0
    period_days: float = 14.0

    def __post_init__(self) -> None:
        for name in ("users", "visits", "shown", "categories"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is at least 1")
        if not 0 < self.period_days <= self.days or not self.delay_days > 0:
            raise ValueError(
                f"period_days is {self.period_days} and delay_days {self.delay_days}; allowed is above 0, "
                f"and a period of at most the {self.days} days"
            )
        if not 0 <= self.answered <= 1:
            raise ValueError(f"answered is {self.answered}; allowed is 0 to 1")


def default_actions(categories: int) -> tuple[Action, ...]:
    """Join the club, get the app, take the newsletter, and buy in each category, of different values."""
    return (
        Action(name="join the club", kind="join_club", value=12.0, eligibility=Eligibility(members="others")),
        Action(name="get the app", kind="app", value=4.0),
        Action(name="take the newsletter", kind="newsletter", value=1.5),
        *(
            Action(name=f"buy in category {one}", kind="buy_in_category", category=one, value=3.0 + 2.0 * (one % 5),
                   repeat_days=14)
            for one in range(categories)
        ),
    )  # fmt: skip


class ActionWorld:
    """One world: ``seed`` fixes its users, their propensities and what they do."""

    def __init__(self, rule: ActionWorldRule, seed: int, actions: tuple[Action, ...] | None = None) -> None:
        self.rule, self.seed = rule, seed
        self.rules = ActionRules(default_actions(rule.categories) if actions is None else actions)
        self.names = feature_names(rule.categories)
        self._own = normals(seed, Stream.ACTION, _EFFECTS, np.arange(len(self.rules)))
        self._rank = name_ranks(self.rules.names)

    def features(self, user: NDArray[np.int64]) -> NDArray[np.float32]:
        """What is known of these users [n, F] when they are first met."""
        active, loyal, fresh, old = normals(self.seed, Stream.ACTION, _TRAITS, user).T
        spread = normals(self.seed, Stream.ACTION, _TRAITS, user[:, None], 1 + np.arange(3)).reshape(len(user), -1)
        columns: dict[str, Floats] = {}
        for place, name in enumerate(COUNTS):
            columns[name] = np.floor(np.exp(1.6 - 0.25 * place + 0.8 * active + 0.4 * spread[:, place]))
        brands = np.floor(np.exp(1.6 + 0.5 * active))
        for name, share in zip(BRANDS, (3.0, active, loyal - 0.3, loyal - 0.8), strict=True):
            columns[name] = brands = np.floor(brands * expit(share) + 0.5)
        columns["days_idle"] = np.exp(1.5 - 0.7 * fresh)
        ago = np.exp(3.2 - 0.6 * fresh + 0.6 * spread[:, 8])
        columns["days_since_order"] = np.where(
            columns["brands_purchased"] > 0, np.minimum(ago, LONGEST_DAYS), LONGEST_DAYS
        )
        columns["days_known"] = np.exp(4.5 + 0.8 * old)
        columns["member"] = loyal + 0.5 * spread[:, 9] > 1.0
        columns["has_app"] = active + 0.7 * spread[:, 10] > 1.2
        columns["newsletter"] = old + 0.7 * spread[:, 11] > 1.2
        tastes = normals(self.seed, Stream.ACTION, _TASTES, user[:, None], np.arange(-(-self.rule.categories // 4)))
        weight = np.exp(1.3 * tastes.reshape(len(user), -1)[:, : self.rule.categories])
        share_of = weight / weight.sum(axis=1, keepdims=True)
        columns |= {f"affinity_{one}": share_of[:, one] for one in range(self.rule.categories)}
        none = np.zeros(len(user))
        return np.column_stack([columns.get(name, none) for name in self.names]).astype(np.float32)

    def chance(self, features: NDArray[np.float32]) -> Floats:
        """The true propensities [n, A] of users with these features [n, F]."""
        seen = {name: features[:, place].astype(np.float64) for place, name in enumerate(self.names)}
        active = np.log1p(seen["count_view"]) - 1.7
        fresh = 1.7 - np.log1p(seen["days_idle"])
        gap = np.log1p(seen["days_since_order"]) - 3.6
        loyal, known = np.log1p(seen["brands_loyal"]), np.log1p(seen["days_known"]) - 4.5
        odds = np.empty((len(features), len(self.rules)))
        for place, action in enumerate(self.rules.actions):
            own = self._own[place]
            if action.kind == "join_club":
                told = -1.9 + 1.0 * loyal + 0.4 * known - 0.4 * gap**2 + 0.9 * loyal * fresh
            elif action.kind == "app":
                told = -1.7 + 0.7 * active + 1.0 * fresh * active - 0.3 * known
            elif action.kind == "newsletter":
                told = -1.2 - 0.6 * active + 0.5 * fresh**2 - 0.5 * known
            elif action.kind == "buy_in_category" and f"affinity_{action.category}" in seen:
                fond = seen[f"affinity_{action.category}"]
                told = -2.6 + 4.5 * fond + 3.0 * fond * fresh - 0.35 * gap**2 + 0.3 * active
            else:
                told = -1.5 + own[1] * active + own[2] * fresh + own[3] * gap * fresh
            odds[:, place] = told + 0.3 * own[0]
        found: Floats = expit(np.clip(odds, -7.0, 7.0))
        return found

    def standing(self, features: NDArray[np.float32], taken: dict[str, int]) -> Standing:
        """What the rules ask of a user with these features [F]; the stage is the highest with any brand."""
        seen = dict(zip(self.names, features.tolist(), strict=True))
        stage = sum(seen[name] > 0 for name in BRANDS)
        return Standing(
            member=seen["member"] > 0, stages={"any": stage}, ordered=seen["brands_purchased"] > 0,
            days_known=seen["days_known"], taken=taken,
        )  # fmt: skip

    def log(self, *, first_user: int = 0) -> Iterator[Listed | Happened]:
        """What happens while nothing is learnt yet: every answer draws its order; views and answers follow."""
        user = first_user + np.arange(self.rule.users)
        features = self.features(user)
        chance = self.chance(features)
        day_ms = self.rule.days * DAY_MS / self.rule.visits
        draws = uniforms(self.seed, Stream.ACTION, _VISIT, np.arange(self.rule.visits))
        taken: list[dict[str, int]] = [{} for _ in user]
        periods: dict[tuple[int, int], tuple[int, int | None, int]] = {}
        none, known = np.zeros(len(self.rules)), np.zeros(len(self.rules), np.bool_)
        for visit in range(self.rule.visits):
            one = int(draws[visit, 0] * len(user))
            now = START_MS + round((visit + float(draws[visit, 1])) * day_ms)
            told = {name: when for name, when in taken[one].items() if when <= now}
            may = np.flatnonzero(self.rules.reasons(self.standing(features[one], told), now) == 0)
            shown = proposal(
                ranked(none, self.rules.value, self._rank, may), known, limit=self.rule.shown, epsilon=0.0,
                key=int(draws[visit, 2] * 2**32),
            )  # fmt: skip
            name = f"user {user[one]}"
            listing = Listed(
                id=f"visit {first_user}.{visit}", user=name, time_ms=now, model="", features=tuple(features[one].tolist()),
                actions=tuple(self.rules.names[action] for action in shown.action.tolist()),
                propensities=(0.0,) * len(shown.action), chances=tuple(shown.chance.tolist()),
                first_chances=tuple(shown.first_chance.tolist()),
            )  # fmt: skip
            yield listing
            for action in shown.action.tolist():
                yield from self._views(listing, int(user[one]), one, action, chance, periods, taken)

    def _views(
        self, listing: Listed, user: int, one: int, action: int, chance: Floats,
        periods: dict[tuple[int, int], tuple[int, int | None, int]], taken: list[dict[str, int]],
    ) -> Iterator[Happened]:  # fmt: skip
        """A view of an action and, where it begins a period, what comes of it."""
        name, now = self.rules.names[action], listing.time_ms

        def happened(kind: Literal["viewed", "not_taken", "taken"], time_ms: int) -> Happened:
            return Happened(
                id=f"{listing.id} {action} {kind}", user=listing.user, kind=kind, action=name, time_ms=time_ms,
                listing=listing.id,
            )  # fmt: skip

        yield happened("viewed", now)
        ends, when, count = periods.get((one, action), (0, None, 0))
        if now < ends and (when is None or when > now):
            return
        luck = uniforms(self.seed, Stream.ACTION, _OUTCOME, user, action * 4096 + count)
        period = self.rule.period_days
        takes = bool(luck[0] < chance[one, action])
        # the delay is exponential, cut to the period
        delay = -self.rule.delay_days * np.log1p(-luck[1] * -np.expm1(-period / self.rule.delay_days))
        when = now + max(1, int(delay * DAY_MS * 0.999)) if takes else None
        periods[one, action] = (now + round(period * DAY_MS), when, count + 1)
        if when is not None:
            taken[one][name] = when
            yield happened("taken", when)
        elif luck[2] < self.rule.answered:
            yield happened("not_taken", now + 1000)
