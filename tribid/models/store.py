"""Model files: a folder with ``weights.safetensors`` and ``card.json``, which says what they are weights of.

Nothing is ever unpickled, and no name in a file becomes code or a path: a card's ``kind`` is looked up in ``KINDS``. A
folder is refused with one ``ValueError`` that names the file, the field, its value and what is allowed, unless the card is
valid, the weights are those that it was written with, each tensor has the card's type and shape, and every number is finite.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tribid import __version__
from tribid.files import read_json, write_atomically, write_json
from tribid.models.batch import Schema

CARD_FILE, WEIGHTS_FILE = "card.json", "weights.safetensors"
MAX_CARD_BYTES = 16 << 20
MAX_WEIGHTS_BYTES = 8 << 30

KINDS: dict[str, tuple[str, str]] = {
    "logistic_ctr": ("tribid.models.ctr.logistic", "LogisticRegressionCtr"),
    "wide_deep": ("tribid.models.ctr.wide_deep", "WideDeep"),
    "deepfm": ("tribid.models.ctr.deepfm", "DeepFm"),
    "din": ("tribid.models.ctr.din", "Din"),
    "dien": ("tribid.models.ctr.dien", "Dien"),
    "click_only": ("tribid.models.cvr.click_only", "ClickOnly"),
    "esmm": ("tribid.models.cvr.esmm", "Esmm"),
    "esm2": ("tribid.models.cvr.esm2", "Esm2"),
    "escm2_ips": ("tribid.models.cvr.escm2", "Escm2Ips"),
    "escm2_dr": ("tribid.models.cvr.escm2", "Escm2Dr"),
    "delayed_feedback": ("tribid.models.cvr.delayed", "DelayedFeedback"),
    "state_counts": ("tribid.models.state.counts", "CountState"),
    "state_sequence": ("tribid.models.state.sequence", "SequenceState"),
    "visual_prior": ("tribid.models.creatives.visual_prior", "VisualPrior"),
    "creatives": ("tribid.models.creatives.served", "ServedCreatives"),
    "cross_media": ("tribid.models.creatives.cross_media", "CrossMediaCtr"),
    "search_weights": ("tribid.models.search.weights", "SearchWeights"),
    "purchase_intent": ("tribid.models.intent.index", "PurchaseIntentIndex"),
    "next_best_action": ("tribid.models.actions.next_best_action", "NextBestAction"),
}
"""The module and class of each kind of model, imported when one is loaded."""

_TYPES = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


class Storable(Protocol):
    """What a model needs to be saved; ``restored`` must refuse tensors of other names or shapes with ``ValueError``."""

    kind: ClassVar[str]
    """Its name in ``KINDS``."""

    def settings(self) -> dict[str, Any]:
        """The arguments of its constructor, as JSON."""
        ...

    def learnt(self) -> tuple[Schema | None, dict[str, NDArray[Any]]]:
        """The schema that it was fitted on, ``None`` for models without one, and its weights by name."""
        ...

    @classmethod
    def restored(
        cls, settings: dict[str, Any], schema: Schema | None, weights: Mapping[str, NDArray[Any]]
    ) -> "Storable":
        """The model that gave these."""
        ...


class TensorCard(BaseModel):
    """Type and shape of one tensor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["float32", "float64", "int32", "int64", "uint8", "bool"]
    shape: tuple[int, ...]


class ModelCard(BaseModel):
    """``card.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tribid-model"] = "tribid-model"
    version: Literal[1] = 1
    tribid_version: str = Field(default=__version__, max_length=100)
    kind: str = Field(max_length=100)
    settings: dict[str, Any]
    data_schema: Schema | None = None
    features: str = Field("", max_length=200, description="digest of the configuration that encoded the ids")
    measures: dict[str, float] = Field(default_factory=dict, description="what it reached, by name")
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tensors: dict[str, TensorCard]


def save_model(
    model: Storable, folder: str | Path, *, features: str = "", measures: Mapping[str, float] | None = None
) -> ModelCard:
    """Write a fitted model into ``folder``, made if it is absent; give its card.

    ``features`` is the digest of whatever turned values into ids, checked again by ``load_model``. The weights are written
    first: cut off between the two files, the old card does not fit the new weights, and loading refuses them.
    """
    if model.kind not in KINDS:
        raise ValueError(f"no kind of model named {model.kind!r}; choose {', '.join(KINDS)}")
    schema, weights = model.learnt()
    arrays = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    _check_finite(f"model {model.kind}", arrays)
    data = save_tensors(arrays)
    card = ModelCard(
        kind=model.kind,
        settings=model.settings(),
        data_schema=schema,
        features=features,
        measures=dict(measures or {}),
        weights_sha256=hashlib.sha256(data).hexdigest(),
        tensors={
            name: TensorCard.model_validate({"dtype": str(value.dtype), "shape": value.shape})
            for name, value in arrays.items()
        },
    )
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    write_atomically(home / WEIGHTS_FILE, data)
    write_json(home / CARD_FILE, card.model_dump(mode="json"))
    return card


def load_model(folder: str | Path, *, kind: str | None = None, features: str | None = None) -> Any:
    """The model in ``folder``; with ``kind`` or ``features`` one of another kind or of otherwise encoded ids is refused."""
    home = Path(folder)
    card = read_card(home)
    path = home / CARD_FILE
    for name, given, wanted in (("kind", card.kind, kind), ("features", card.features, features)):
        if wanted is not None and given != wanted:
            raise ValueError(f"{path}: {name} is {given!r}; allowed is {wanted!r}")
    weights = _read_weights(home / WEIGHTS_FILE, card)
    module, name = KINDS[card.kind]
    model = cast(type[Storable], getattr(importlib.import_module(module), name))
    try:
        return model.restored(card.settings, card.data_schema, weights)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path}: no {card.kind} can be made of this: {error}") from None


def read_card(folder: str | Path) -> ModelCard:
    """The card in ``folder``, checked; ``ValueError`` where it is none."""
    path = Path(folder) / CARD_FILE
    if path.is_file() and path.stat().st_size > MAX_CARD_BYTES:
        raise ValueError(f"{path} is larger than {MAX_CARD_BYTES} bytes; allowed is at most that")
    content = read_json(path)
    try:
        card = ModelCard.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where} is {first['input']!r:.80}: {first['msg']}") from None
    if card.kind not in KINDS:
        raise ValueError(f"{path}: kind is {card.kind!r}; choose {', '.join(KINDS)}")
    return card


def _read_weights(path: Path, card: ModelCard) -> dict[str, NDArray[Any]]:
    """The tensors exactly as the card says; their header is compared before any is made."""
    try:
        size = path.stat().st_size
        if size > MAX_WEIGHTS_BYTES:
            raise ValueError(f"{path} is larger than {MAX_WEIGHTS_BYTES} bytes; allowed is at most that")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.weights_sha256:
        raise ValueError(f"{path}: its SHA-256 is {digest}; allowed is the card's, {card.weights_sha256}")
    _check_header(path, data, card)
    try:
        tensors: dict[str, NDArray[Any]] = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from None
    _check_finite(str(path), tensors)
    return tensors


def _check_header(path: Path, data: bytes, card: ModelCard) -> None:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError(f"{path}: header length is {length} in {len(data)} bytes; allowed is at most {len(data) - 8}")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: header is {header!r:.80}; allowed is a JSON object of tensors")
    header.pop("__metadata__", None)
    wrong = sorted(set(header) ^ set(card.tensors))
    if wrong:
        raise ValueError(f"{path}: tensor {wrong[0]!r:.80} is not in both card and file")
    for name, wanted in card.tensors.items():
        entry = header[name] if isinstance(header[name], dict) else {}
        if entry.get("dtype") != _TYPES[wanted.dtype] or entry.get("shape") != list(wanted.shape):
            raise ValueError(
                f"{path}: tensor {name} is {entry.get('dtype')!r:.20} of shape {entry.get('shape')!r:.80}; "
                f"allowed is {_TYPES[wanted.dtype]} of shape {list(wanted.shape)}"
            )


def _check_finite(place: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    for name, values in tensors.items():
        if str(values.dtype) not in _TYPES:
            raise ValueError(f"{place}: tensor {name} is of type {values.dtype}; choose {', '.join(_TYPES)}")
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise ValueError(
                f"{place}: tensor {name} holds {values[~np.isfinite(values)][0]}; allowed are finite numbers"
            )
