"""``NextBestAction``: the propensity of each user to take each action, in scikit-learn's shape and served by numpy alone."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit

from tribid.envs.actions import MAX_ACTIONS
from tribid.models.actions.examples import ActionExamples, enough
from tribid.models.actions.features import logarithmic
from tribid.models.actions.fitting import Layers, calibrated, held_out, logistic_layers, network_layers
from tribid.models.batch import Schema
from tribid.models.store import ModelCard, load_model, save_model

_CLIP: Final = np.float32(8.0)
"""Standardised features are cut to this, so that absurd ones cannot drown the rest."""

_PENALTY: Final = {"logistic": 1.0, "network": 10_000.0}
_MOST_ODDS: Final = np.float32(60.0)
_MOST_WEIGHT: Final = 1e4
"""Weights of a larger size, which no fit gives, could overflow."""

_NUMBERS: Final = 1 << 21  # products held at a time


class _Settings(BaseModel):
    """The constructor's arguments, and the names that it learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["logistic", "network"] = "network"
    min_taken: int = Field(50, ge=1, le=10**9)
    min_other: int = Field(50, ge=1, le=10**9)
    penalty: float | None = Field(None, gt=0, le=1e9, allow_inf_nan=False)
    hidden: tuple[Annotated[int, Field(ge=1, le=512)], ...] = Field((64,), min_length=1, max_length=4)
    epochs: int = Field(60, ge=1, le=10_000)
    learning_rate: float = Field(3e-3, gt=0, le=1, allow_inf_nan=False)
    held_out: float = Field(0.2, ge=0.05, le=0.5)
    seed: int = Field(0, ge=0, lt=2**31)


class _Fitted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    actions: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        min_length=1, max_length=MAX_ACTIONS
    )
    features: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(min_length=1, max_length=2000)


class NextBestAction:
    """How likely users are to take each of A actions, calibrated, in [0, 1]; 0.0 for actions with too few events.

    ``model``: "logistic" is one logistic regression an action (scikit-learn's, extra ``logs``), readable as weights;
    "network" one torch network (extra ``train``) with ``hidden`` layers that the actions share and an output each. An
    action needs ``min_taken`` taken events and ``min_other`` not taken or viewed ones. ``held_out`` is the share of users
    on which training is stopped and propensities are calibrated (Platt). ``penalty`` is that of the squared weights, by
    default 1 for regressions (scikit-learn's 1 / C) and 10,000 for the network (its weight decay, times the examples).

    After ``fit``: ``actions_`` and ``features_`` (names), ``known_`` [A] which actions have a model, ``layers_``,
    ``slope_`` and ``intercept_`` [A] of the calibration, ``mean_``, ``std_`` and ``log_`` [F] of the features.
    """

    kind: ClassVar[str] = "next_best_action"
    actions_: tuple[str, ...]
    features_: tuple[str, ...]
    known_: NDArray[np.bool_]
    layers_: Layers
    slope_: NDArray[np.float32]
    intercept_: NDArray[np.float32]
    mean_: NDArray[np.float32]
    std_: NDArray[np.float32]
    log_: NDArray[np.bool_]

    def __init__(self, **settings: Any) -> None:
        try:
            self.parameters = _Settings(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{where} is {first['input']!r:.80}: {first['msg']}") from None

    def fit(self, examples: ActionExamples, actions: tuple[str, ...], features: tuple[str, ...]) -> Self:
        """Learn from examples (``tribid.models.actions.examples``) of these actions and features, by name; return self.

        Actions with too few events, or whose examples are all of one kind, get no model.
        """
        if examples.features.shape[1:] != (len(features),) or examples.counts.shape != (len(actions), 3):
            raise ValueError(
                f"features have shape {examples.features.shape} and counts {examples.counts.shape}; "
                f"allowed is [E, {len(features)}] and [{len(actions)}, 3]"
            )
        told = self.parameters
        self.actions_, self.features_ = tuple(actions), tuple(features)
        self.log_ = logarithmic(self.features_)
        self._scale(examples.features)
        aside = held_out(examples.user, told.held_out, told.seed)
        self.known_ = enough(examples.counts, min_taken=told.min_taken, min_other=told.min_other)
        for part in (aside, ~aside):
            for outcome in (0.0, 1.0):
                seen = np.bincount(examples.action[part & (examples.label == outcome)], minlength=len(actions))
                self.known_ = self.known_ & (seen > 0)
        kept = self.known_[examples.action]
        x, action, label = self._inputs(examples.features[kept]), examples.action[kept], examples.label[kept]
        aside = aside[kept]
        penalty = _PENALTY[told.model] if told.penalty is None else told.penalty
        if told.model == "logistic":
            self.layers_ = logistic_layers(x[~aside], action[~aside], label[~aside], len(actions), penalty)
        else:
            self.layers_ = network_layers(
                x, action, label, aside, len(actions), hidden=told.hidden, epochs=told.epochs,
                learning_rate=told.learning_rate, penalty=penalty, seed=told.seed,
            )  # fmt: skip
        logits = self._logits(x[aside])[np.arange(int(aside.sum())), action[aside]]
        self.slope_, self.intercept_ = calibrated(logits, action[aside], label[aside], len(actions))
        return self

    def predict(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Propensities [U, A] of users with these features [U, F]; the same for a user in whatever batch.

        Raises ValueError for another shape and for what is no finite number.
        """
        if not hasattr(self, "layers_"):
            raise ValueError("this NextBestAction has learnt nothing yet: call fit first")
        given = np.asarray(features)
        if given.ndim != 2 or given.shape[1] != len(self.features_):
            raise ValueError(f"features have shape {given.shape}; allowed is [U, {len(self.features_)}]")
        if not np.isfinite(given).all():
            user, feature = np.argwhere(~np.isfinite(given))[0]
            raise ValueError(
                f"features hold {given[user, feature]} for {self.features_[feature]} of user {user}; "
                "allowed are finite numbers"
            )
        odds = np.clip(self._logits(self._inputs(given)), -_MOST_ODDS, _MOST_ODDS)
        found: NDArray[np.float32] = np.where(
            self.known_, expit(odds * self.slope_ + self.intercept_), np.float32(0.0)
        ).astype(np.float32)
        return found

    def weights_of(self, action: str) -> dict[str, float]:
        """Of a logistic model: by how much each feature, one standard deviation higher, raises the action's log-odds."""
        if self.parameters.model != "logistic":
            raise ValueError(f"model is {self.parameters.model!r}; allowed is 'logistic', whose weights can be read")
        place = self.actions_.index(action)
        slope = float(self.slope_[place])
        column = self.layers_[0][0][:, place]
        return {name: slope * float(weight) for name, weight in zip(self.features_, column, strict=True)}

    def save(self, folder: str | Path, *, measures: Mapping[str, float] | None = None) -> ModelCard:
        """Write the fitted model into ``folder``; see ``tribid.models.store``."""
        return save_model(self, folder, measures=measures)

    def digest(self) -> str:
        """Twelve hex digits that name what was learnt; equal weights, names and settings give equal ones."""
        _, weights = self.learnt()
        told = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for name in sorted(weights):
            told.update(np.ascontiguousarray(weights[name]).tobytes())
        return told.hexdigest()[:12]

    @classmethod
    def load(cls, folder: str | Path) -> "NextBestAction":
        """The model in ``folder``; one of another kind is refused."""
        found = load_model(folder, kind=cls.kind)
        assert isinstance(found, NextBestAction)
        return found

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments and, under ``fitted``, the names."""
        given: dict[str, Any] = json.loads(self.parameters.model_dump_json())
        return given | {"fitted": {"actions": list(self.actions_), "features": list(self.features_)}}

    def learnt(self) -> tuple[Schema | None, dict[str, NDArray[Any]]]:
        """No schema, and the weights by name."""
        if not hasattr(self, "layers_"):
            raise ValueError("this NextBestAction has learnt nothing yet: call fit first")
        weights: dict[str, NDArray[Any]] = {
            "known": self.known_, "slope": self.slope_, "intercept": self.intercept_, "mean": self.mean_,
            "std": self.std_, "log": self.log_,
        }  # fmt: skip
        for place, (weight, bias) in enumerate(self.layers_):
            weights |= {f"weight{place}": weight, f"bias{place}": bias}
        return None, weights

    @classmethod
    def restored(
        cls, settings: dict[str, Any], schema: Schema | None, weights: Mapping[str, NDArray[Any]]
    ) -> "NextBestAction":
        """The model that gave these; ``ValueError`` where they do not fit together."""
        own = dict(settings)
        names = _Fitted.model_validate(own.pop("fitted", None))
        if len(set(names.actions)) < len(names.actions) or len(set(names.features)) < len(names.features):
            raise ValueError("fitted names an action or a feature twice; allowed is each name once")
        model = cls(**own)
        wanted = model._shapes(len(names.actions), len(names.features))
        wrong = sorted(set(wanted) ^ set(weights))
        if wrong:
            raise ValueError(f"tensor {wrong[0]!r:.60} is missing or not called for; allowed are {', '.join(wanted)}")
        for name, (dtype, shape) in wanted.items():
            if weights[name].shape != shape or weights[name].dtype != dtype:
                raise ValueError(
                    f"tensor {name} is {weights[name].dtype} of shape {list(weights[name].shape)}; "
                    f"allowed is {dtype} of shape {list(shape)}"
                )
        if not (weights["std"] > 0).all() or not (weights["slope"] >= 0).all():
            raise ValueError("std must be above 0, and slope not below 0")
        for name in wanted:
            if name.startswith(("weight", "bias", "slope", "intercept")) and abs(weights[name]).max() > _MOST_WEIGHT:
                raise ValueError(f"{name} holds {abs(weights[name]).max():g}; allowed is at most {_MOST_WEIGHT:g}")
        model.actions_, model.features_ = names.actions, names.features
        for name in ("known", "slope", "intercept", "mean", "std", "log"):
            setattr(model, f"{name}_", weights[name])
        count = sum(name.startswith("weight") for name in wanted)
        model.layers_ = tuple((weights[f"weight{place}"], weights[f"bias{place}"]) for place in range(count))
        return model

    def _shapes(self, actions: int, features: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of every tensor."""
        hidden = () if self.parameters.model == "logistic" else self.parameters.hidden
        sizes = (features, *hidden, actions)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "known": ("bool", (actions,)), "slope": ("float32", (actions,)), "intercept": ("float32", (actions,)),
            "mean": ("float32", (features,)), "std": ("float32", (features,)), "log": ("bool", (features,)),
        }  # fmt: skip
        for place in range(len(sizes) - 1):
            shapes[f"weight{place}"] = ("float32", (sizes[place], sizes[place + 1]))
            shapes[f"bias{place}"] = ("float32", (sizes[place + 1],))
        return shapes

    def _scale(self, features: NDArray[np.float32]) -> None:
        """Learn mean and deviation [F]; a feature that never varies keeps its unit."""
        seen = self._unscaled(features).astype(np.float64)
        self.mean_ = (seen.mean(axis=0) if len(seen) else np.zeros(seen.shape[1])).astype(np.float32)
        std = seen.std(axis=0) if len(seen) else np.ones(seen.shape[1])
        self.std_ = np.where(std > 1e-6, std, 1.0).astype(np.float32)

    def _unscaled(self, features: NDArray[Any]) -> NDArray[np.float32]:
        finite = np.clip(np.asarray(features, np.float64), -1e30, 1e30).astype(np.float32)
        return np.where(self.log_, np.log1p(np.maximum(finite, np.float32(0.0))), finite)

    def _inputs(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Standardised features [U, F], cut to 8 deviations."""
        with np.errstate(over="ignore"):
            scaled: NDArray[np.float32] = np.clip((self._unscaled(features) - self.mean_) / self.std_, -_CLIP, _CLIP)
        return scaled

    def _logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Uncalibrated log-odds [U, A]; every sum is taken in the order of the inputs, whatever the batch's size."""
        rows = max(1, _NUMBERS // max(weight.size for weight, _ in self.layers_))
        parts = [self._forward(x[start : start + rows]) for start in range(0, len(x), rows)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.actions_)), np.float32)

    def _forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        for place, (weight, bias) in enumerate(self.layers_):
            x = (x[:, :, None] * weight).sum(axis=1) + bias
            if place < len(self.layers_) - 1:
                x = np.maximum(x, np.float32(0.0))
        return x
