"""Policy files: weights as safetensors, a JSON card beside, and probes whose answers a loaded policy must repeat.

Nothing is ever unpickled, and no name in a file becomes code or a path. A file is refused, with one ``ValueError`` that
names the field, its value and what is allowed, unless in this order: its size is within the cap, the card is valid and
belongs to these weights, the header lists exactly the tensors of the card, every number is finite, the observation is
that of the running code, and the policy gives the recorded actions to the bit.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tribid import __version__
from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.card import ServedPolicy
from tribid.agents.policy_card import ObservedField, PolicyCard, TrainedIn, Training, read_card, read_json
from tribid.envs.chance import Stream, uniforms
from tribid.envs.observation import bounds, fields
from tribid.envs.scenario import Scenario
from tribid.files import write_atomically, write_json

MAX_FILE_BYTES = 64 << 20
MAX_HEADER_BYTES = 1 << 20
PROBES = 64
PROBE_TICKS = 3
LINEUP_FILE = "lineup.json"

_STEM = re.compile(r"[A-Za-z0-9_-]{1,100}")


def save_policy(
    policy: ServedPolicy, path: str | Path, *, name: str, scenario: Scenario, training: Mapping[str, Any] | None = None
) -> PolicyCard:
    """Write ``path`` (ending in .safetensors) and its card, ``.json`` instead; each is whole or not there at all.

    ``training`` holds fields of ``tribid.agents.policy_card.Training``. The weights are written first: cut off between
    the two, the old card does not fit the new weights, and loading refuses them.
    """
    target = _weights_path(path)
    probe = probe_observations(policy.space)
    tensors = policy.tensors() | {"probe.observation": probe, "probe.action": _probed(policy, probe)}
    data = save_tensors({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    space = policy.space
    card = PolicyCard(
        name=name,
        tribid_version=__version__,
        scenario=TrainedIn(name=scenario.name, hash=scenario.hash),
        training=Training.model_validate_json(json.dumps(dict(training or {}))),
        observation=tuple(
            ObservedField(name=f.name, low=float(f.low), high=float(f.high)) for f in fields(space.segments)
        ),
        segments=space.segments,
        max_multiplier=float(space.max_multiplier),
        ticks=space.n_ticks,
        network=policy.card(),  # type: ignore[arg-type]
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )
    write_atomically(target, data)
    write_json(target.with_suffix(".json"), card.model_dump(mode="json"))
    return card


def load_policy(path: str | Path, *, space: BidderSpace | None = None) -> ServedPolicy:
    """The policy in ``path`` (ending in .safetensors, its card beside it).

    With ``space`` (of the scenario that it will act in) a policy of other segments or another cap is refused.
    """
    source = _weights_path(path)
    data = _read_weights(source)
    card_path = source.with_suffix(".json")
    card = read_card(card_path)
    digest = hashlib.sha256(data).hexdigest()
    if card.weights_sha256 != digest:
        raise ValueError(
            f"{card_path}: weights_sha256 is {card.weights_sha256}; allowed is that of {source.name}, {digest}"
        )
    _check_header(source, data, card)
    tensors = _read_tensors(source, data)
    card.check_observation(str(card_path))
    _check_space(card_path, card, space)
    policy = _policy_of(source, card, tensors)
    _check_probes(source, policy, tensors)
    return policy


def save_lineup(
    policies: Mapping[str, ServedPolicy],
    mapping: Mapping[str, str],
    folder: str | Path,
    *,
    scenario: Scenario,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write policies by name into ``folder``, and ``lineup.json``: which advertiser (``mapping``) each one drives."""
    unknown = sorted(set(mapping.values()) - set(policies))
    if unknown:
        raise ValueError(f"mapping names the policy {unknown[0]!r}; choose {', '.join(policies)}")
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    stems = _stems(list(policies))
    for name, policy in policies.items():
        save_policy(policy, home / f"{stems[name]}.safetensors", name=name, scenario=scenario, training=training)
    content = {"format": "tribid-lineup", "version": 1, "policies": stems, "mapping": dict(mapping)}
    write_json(home / LINEUP_FILE, content)


def load_lineup(
    folder: str | Path, *, space: BidderSpace | None = None
) -> tuple[dict[str, ServedPolicy], dict[str, str]]:
    """The policies of a folder by name, and the policy's name for each advertiser that has one."""
    path = Path(folder) / LINEUP_FILE
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != "tribid-lineup" or content.get("version") != 1:
        raise ValueError(f"{path} is no lineup of version 1; allowed is what save_lineup writes")
    stems, mapping = (_names(path, key, content.get(key)) for key in ("policies", "mapping"))
    for name, stem in stems.items():
        if not _STEM.fullmatch(stem):
            raise ValueError(
                f"{path}: policies.{name} is {stem!r}; allowed is a file's name of letters, digits, - and _"
            )
    for advertiser, name in mapping.items():
        if name not in stems:
            raise ValueError(f"{path}: mapping.{advertiser} is {name!r}; choose {', '.join(stems)}")
    home = Path(folder)
    return {name: load_policy(home / f"{stem}.safetensors", space=space) for name, stem in stems.items()}, mapping


def load_policies(folder: str | Path, *, space: BidderSpace | None = None) -> dict[str, ServedPolicy]:
    """The policies of a folder by name; see ``load_lineup``."""
    return load_lineup(folder, space=space)[0]


def probe_observations(space: BidderSpace) -> NDArray[np.float32]:
    """Observations [P, D] that a policy must answer alike wherever it is loaded.

    Both extremes, the middle, 32 random corners of the bounds and 32 points between them.
    """
    low, high = bounds(space.segments)
    half = PROBES // 2
    row, place = np.indices((PROBES, len(low)))
    draws = uniforms(0, Stream.POLICY, request=row, ad=place)[..., 0]
    corners = np.where(draws[:half] < 0.5, low, high)
    between = low + draws[half:] * (high - low)
    return np.concatenate([low[None], high[None], (0.5 * (low + high))[None], corners, between]).astype(np.float32)


def _weights_path(path: str | Path) -> Path:
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"policy file {str(path)!r} is of another kind; allowed is a path ending in .safetensors")
    return target


def _probed(policy: ServedPolicy, probe: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions [T, P, S] in the first ticks of a day, each of which shows the probes to other rows than the one before."""
    state, actions = None, []
    for tick in range(PROBE_TICKS):
        action, state = policy.predict(np.roll(probe, tick, axis=0), state)
        actions.append(action)
    return np.stack(actions)


def _shapes(card: PolicyCard) -> dict[str, tuple[int, ...]]:
    """The tensors that the card calls for; the network's are bounded, so nothing large is made."""
    probes = PROBES + 3
    observed = (probes, len(card.observation))
    return card.network.tensors() | {
        "probe.observation": observed, "probe.action": (PROBE_TICKS, probes, card.segments)
    }  # fmt: skip


def _read_weights(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ValueError(f"{path} is no file; allowed is a policy's safetensors file")
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{path} is larger than {MAX_FILE_BYTES} bytes; allowed is at most that")
    return data


def _check_header(path: Path, data: bytes, card: PolicyCard) -> None:
    """Names, shapes and types exactly as the card says, before any tensor is made."""
    length = int.from_bytes(data[:8], "little")
    most = min(MAX_HEADER_BYTES, len(data) - 8)
    if len(data) < 8 or length > most:
        raise ValueError(f"{path}: header length is {length} in {len(data)} bytes; allowed is at most {max(most, 0)}")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: header is {header!r:.80}; allowed is a JSON object of tensors")
    header.pop("__metadata__", None)
    wanted = _shapes(card)
    wrong = sorted(set(wanted) ^ set(header))
    if wrong:
        kind = "missing" if wrong[0] in wanted else "not called for"
        raise ValueError(f"{path}: tensor {wrong[0]!r:.80} is {kind}; allowed are exactly {', '.join(wanted)}")
    for name, shape in wanted.items():
        entry = header[name] if isinstance(header[name], dict) else {}
        if entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
            raise ValueError(
                f"{path}: tensor {name} is {entry.get('dtype')!r:.20} of shape {entry.get('shape')!r:.80}; "
                f"allowed is F32 of shape {list(shape)}"
            )


def _read_tensors(path: Path, data: bytes) -> dict[str, NDArray[np.float32]]:
    try:
        tensors: dict[str, NDArray[np.float32]] = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from None
    for name, values in tensors.items():
        wrong = ~np.isfinite(values)
        if wrong.any():
            raise ValueError(f"{path}: tensor {name} holds {values[wrong][0]}; allowed are finite numbers")
    return tensors


def _check_space(path: Path, card: PolicyCard, space: BidderSpace | None) -> None:
    if space is None:
        return
    for name in ("segments", "max_multiplier"):
        if getattr(card, name) != getattr(space, name):
            raise ValueError(
                f"{path}: {name} is {getattr(card, name)}; allowed is the scenario's {getattr(space, name)}"
            )


def _policy_of(path: Path, card: PolicyCard, tensors: Mapping[str, NDArray[np.float32]]) -> ServedPolicy:
    space = BidderSpace(segments=card.segments, max_multiplier=card.max_multiplier, n_ticks=card.ticks)
    try:
        return card.network.policy(space, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_probes(path: Path, policy: ServedPolicy, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    given, wanted = _probed(policy, tensors["probe.observation"]), tensors["probe.action"]
    wrong = np.argwhere(given.view(np.uint32) != np.ascontiguousarray(wanted).view(np.uint32))
    if len(wrong):
        tick, row, action = wrong[0]
        raise ValueError(
            f"{path}: probe {row} of tick {tick} gives the action {given[tick, row, action]!r}; "
            f"allowed is {wanted[tick, row, action]!r}, to the bit"
        )


def _names(path: Path, key: str, content: Any) -> dict[str, str]:
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f"{path}: {key} is {content!r:.80}; allowed is an object from names to names")
    return content


def _stems(names: list[str]) -> dict[str, str]:
    """A file name for each policy, from its name where that is safe, and no two alike on any file system."""
    stems: dict[str, str] = {}
    taken = {Path(LINEUP_FILE).stem}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60] or "policy"
        stem, count = base, 1
        while stem.lower() in taken:
            stem, count = f"{base}-{count}", count + 1
        taken.add(stem.lower())
        stems[name] = stem
    return stems
