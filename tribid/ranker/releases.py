"""Releases: sets of policies by name, which of them answers whom, and how one replaces another."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Lineup
from tribid.envs.action import to_multiplier
from tribid.envs.market import MarketState
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario
from tribid.ranker.lineups import loaded_lineup

Mode = Literal["active", "shadow", "split", "off"]
Arm = Literal["active", "split", "shadow"]


class ReleaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A release as it is told: ``kind`` are its networks' kinds, or ``rule``; ``advertisers`` those that it bids for."""

    name: str
    version: str
    kind: str
    advertisers: tuple[str, ...]


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """Which releases there are and what each does; ``split`` says how many percent of the users each of its arms has."""

    active: str
    previous: str | None
    shadow: tuple[str, ...]
    split: dict[str, float]
    releases: tuple[ReleaseInfo, ...]


class Plan(NamedTuple):
    """Who answers whom: the names of the active release, the one before, those in shadow, and the split's percents."""

    active: str
    previous: str | None = None
    shadow: tuple[str, ...] = ()
    split: tuple[tuple[str, float], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every release that the plan needs, the active one first."""
        named = (self.active, *(name for name, _ in self.split), *self.shadow)
        return named if self.previous is None else tuple(dict.fromkeys((*named, self.previous)))


class Release:
    """One lineup and what it carries through a day: its bidders' states and its multipliers [A, S] (None: none yet)."""

    def __init__(self, info: ReleaseInfo, lineup: Lineup, max_multiplier: float) -> None:
        self.info, self._lineup, self._most = info, lineup, max_multiplier
        self.label = f"{info.name}@{info.version}"
        self.start_day()

    def start_day(self) -> None:
        """Forget the day before; multipliers stay until the new day's are there."""
        self._states: Mapping[str, Any] = {}
        self._last: NDArray[np.float64] | None = None
        self.is_stale = False
        self.multipliers: NDArray[np.float64] | None = getattr(self, "multipliers", None)

    def forget(self) -> None:
        """As if never used."""
        self.start_day()
        self.multipliers = None

    def refresh(self, state: MarketState) -> None:
        """Set the multipliers of the tick that ``state`` is before; they are replaced as a whole.

        Its own last multipliers are what its bidders see as their last actions.
        """
        own = state if self._last is None else replace(state, multipliers=self._last)
        actions, states = self._lineup.act(observe(own), dict(self._states))
        multipliers = to_multiplier(actions, self._most)
        if not np.isfinite(multipliers).all():
            raise ValueError(f"release {self.label} gives multipliers that are not finite")
        self._states, self._last, self.multipliers, self.is_stale = states, multipliers, multipliers, False


def load_release(
    scenario: Scenario,
    name: str,
    source: str | Path,
    others: str,
    names: tuple[str, ...],
    *,
    any_scenario: bool = False,
) -> Release:
    """A release from a folder of policy files, or a bidder's name; its version names the weights."""
    if not name or len(name) > 100 or "@" in name or "/" in name or ":" in name:
        raise ValueError(f"release is named {name!r:.120}; allowed are 1 to 100 characters without @, / and :")
    loaded = loaded_lineup(scenario, source, others, names, any_scenario=any_scenario)
    driven = tuple(ad for ad, bidder in zip(names, loaded.lineup.mapping, strict=True) if bidder != "others")
    info = ReleaseInfo(name=name, version=loaded.version, kind=loaded.kind, advertisers=driven)
    return Release(info, loaded.lineup, scenario.rules.max_multiplier)


class Releases:
    """All releases and the plan in force. The plan is swapped as a whole: a page sees one or the other."""

    def __init__(self, releases: Mapping[str, Release], active: str | None = None) -> None:
        if not releases:
            raise ValueError("policies are empty; allowed is one release or more")
        self.all = dict(releases)
        self.plan = Plan(next(iter(self.all)) if active is None else self._known(active))

    @property
    def in_use(self) -> list[Release]:
        """The releases whose multipliers are kept up: all of the plan, the previous active one too."""
        return [self.all[name] for name in self.plan.names]

    def told(self) -> Policies:
        """The plan in words."""
        plan = self.plan
        return Policies(
            active=plan.active, previous=plan.previous, shadow=plan.shadow, split=dict(plan.split),
            releases=tuple(release.info for release in self.all.values()),
        )  # fmt: skip

    def planned(self, name: str, mode: Mode, percent: float | None = None) -> Plan:
        """The plan after giving a release another part; ``ValueError`` says what is allowed."""
        self._known(name)
        plan = self.plan
        if mode not in ("active", "shadow", "split", "off"):
            raise ValueError(f"mode is {mode!r}; allowed is active, shadow, split or off")
        if (percent is not None) != (mode == "split"):
            raise ValueError(f"percent is {percent}; allowed is a share with mode 'split' and none with another")
        if name == plan.active:
            if mode == "active":
                return plan
            raise ValueError(
                f"mode is {mode!r}, but release {name!r} is active; allowed is to activate another in its place first"
            )
        shadow = tuple(other for other in plan.shadow if other != name)
        split = tuple(arm for arm in plan.split if arm[0] != name)
        if mode == "active":
            return Plan(name, plan.active, shadow, split)
        if mode == "shadow":
            return plan._replace(shadow=(*shadow, name), split=split)
        if mode == "off":
            return plan._replace(shadow=shadow, split=split)
        return plan._replace(shadow=shadow, split=self._with_arm(name, percent))

    def rolled_back(self) -> Plan:
        """The plan with the previous release active again, and the active one as its previous."""
        plan = self.plan
        if plan.previous is None:
            raise ValueError(f"active is {plan.active!r}, which replaced none; allowed is to activate another first")
        back = plan.previous
        return Plan(
            back, plan.active, tuple(other for other in plan.shadow if other != back),
            tuple(arm for arm in plan.split if arm[0] != back),
        )  # fmt: skip

    def arm_of(self, key: int) -> tuple[Release, Arm]:
        """Which release answers a user (or, of a page without one, a request) with this number, and why."""
        if self.plan.split:
            place, edge = share_of(key), 0.0
            for name, percent in self.plan.split:
                edge += percent / 100.0
                if place < edge:
                    return self.all[name], "split"
        return self.all[self.plan.active], "active"

    def shares(self) -> list[tuple[Release, float]]:
        """The chance that each of the answering releases has of a user."""
        arms = [(self.all[name], percent / 100.0) for name, percent in self.plan.split]
        return [(self.all[self.plan.active], max(0.0, 1.0 - sum(share for _, share in arms))), *arms]

    def _with_arm(self, name: str, percent: float | None) -> tuple[tuple[str, float], ...]:
        given = percent if isinstance(percent, (int, float)) and not isinstance(percent, bool) else float("nan")
        taken = sum(share for other, share in self.plan.split if other != name)
        if not 0.0 < given <= 100.0 - taken:
            raise ValueError(
                f"percent is {percent}; allowed is above 0 to {100.0 - taken:g}, what the other arms leave"
            )
        arms = dict(self.plan.split) | {name: float(given)}
        return tuple(arms.items())

    def _known(self, name: str) -> str:
        if name not in self.all:
            raise ValueError(f"no release named {name!r:.120}; choose {', '.join(self.all)}")
        return name


def share_of(key: int) -> float:
    """Where in [0, 1) a user falls, the same in every process: a hash of its number.

    >>> share_of(7) == share_of(7) and 0.0 <= share_of(7) < 1.0
    True
    """
    digest = hashlib.blake2b(key.to_bytes(8, "little"), digest_size=8, person=b"tribid-split").digest()
    return (int.from_bytes(digest, "little") >> 11) / 2.0**53
