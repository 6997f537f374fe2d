"""Policy files: weights as safetensors, a JSON card beside, and probes whose answers a loaded policy must repeat.

Nothing is ever unpickled, and no name in a file becomes code or a path. A file is refused, with one ``ValueError`` that
names the field, its value and what is allowed, unless in this order: it is a file of its own within the size cap, the card
is valid and belongs to these weights, the header lists exactly the tensors of the card, every number is finite, the
observation is that of the running code, segments and cap (and, where it is to be served, the scenario's hash) are those of
the running scenario, and the policy gives the recorded actions to the bit.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from tribid import __version__
from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.card import ServedPolicy
from tribid.agents.policy_card import ObservedField, PolicyCard, TrainedIn, Training, read_card, read_json
from tribid.agents.weights_file import read_weights, tensors_of
from tribid.envs.chance import Stream, uniforms
from tribid.envs.observation import bounds, fields
from tribid.envs.scenario import Scenario
from tribid.files import write_atomically, write_json

PROBES = 64
PROBE_TICKS = 3
LINEUP_FILE = "lineup.json"

_STEM = re.compile(r"[A-Za-z0-9_-]{1,100}")


class PolicyFile(NamedTuple):
    """A policy and what its file says of it."""

    card: PolicyCard
    policy: ServedPolicy


def save_policy(
    policy: ServedPolicy,
    path: str | Path,
    *,
    name: str,
    scenario: Scenario | TrainedIn,
    training: Mapping[str, Any] | None = None,
) -> PolicyCard:
    """Write ``path`` (ending in .safetensors) and its card, ``.json`` instead; each is whole or not there at all.

    ``scenario`` is the one of the training, or its name and hash from another card. ``training`` holds fields of
    ``tribid.agents.policy_card.Training``. The weights are written first: cut off between the two, the old card does not
    fit the new weights, and loading refuses them.
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


def load_policy(
    path: str | Path,
    *,
    space: BidderSpace | None = None,
    scenario: Scenario | None = None,
    any_scenario: bool = False,
) -> ServedPolicy:
    """The policy in ``path`` (ending in .safetensors, its card beside it).

    With ``space`` (of the scenario that it will act in) a policy of other segments or another cap is refused. With
    ``scenario``, the one that it is to be served in, a policy that was trained in another is refused, too, unless
    ``any_scenario`` asks for it.
    """
    return read_policy(path, space=space, scenario=scenario, any_scenario=any_scenario).policy


def read_policy(
    path: str | Path,
    *,
    space: BidderSpace | None = None,
    scenario: Scenario | None = None,
    any_scenario: bool = False,
) -> PolicyFile:
    """The policy in ``path`` with its card; see ``load_policy``."""
    source = _weights_path(path)
    data = read_weights(source)
    card_path = source.with_suffix(".json")
    card = read_card(card_path)
    digest = hashlib.sha256(data).hexdigest()
    if card.weights_sha256 != digest:
        raise ValueError(
            f"{card_path}: weights_sha256 is {card.weights_sha256}; allowed is that of {source.name}, {digest}"
        )
    tensors = tensors_of(source, data, _shapes(card))
    card.check_observation(str(card_path))
    _check_space(card_path, card, BidderSpace.of(scenario) if scenario is not None and space is None else space)
    if scenario is not None and not any_scenario:
        _check_scenario(card_path, card, scenario)
    policy = _policy_of(source, card, tensors)
    _check_probes(source, policy, tensors)
    return PolicyFile(card, policy)


def save_lineup(
    policies: Mapping[str, ServedPolicy],
    mapping: Mapping[str, str],
    folder: str | Path,
    *,
    scenario: Scenario | TrainedIn,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write policies by name into ``folder``, and ``lineup.json``: which advertiser (``mapping``) each one drives."""
    unknown = sorted(set(mapping.values()) - set(policies))
    if unknown:
        raise ValueError(f"mapping names the policy {unknown[0]!r}; choose {', '.join(policies)}")
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    stems = file_stems(list(policies))
    for name, policy in policies.items():
        save_policy(policy, home / f"{stems[name]}.safetensors", name=name, scenario=scenario, training=training)
    write_lineup(home, stems, mapping)


def write_lineup(folder: Path, stems: Mapping[str, str], mapping: Mapping[str, str]) -> None:
    """Write ``lineup.json``: a folder's files by policy (``file_stems``), and which advertiser each policy drives."""
    head = {"format": "tribid-lineup", "version": 1}
    write_json(folder / LINEUP_FILE, head | {"policies": dict(stems), "mapping": dict(mapping)})


def load_lineup(
    folder: str | Path,
    *,
    space: BidderSpace | None = None,
    scenario: Scenario | None = None,
    any_scenario: bool = False,
) -> tuple[dict[str, ServedPolicy], dict[str, str]]:
    """The policies of a folder by name, and the policy's name for each advertiser that has one.

    ``space``, ``scenario`` and ``any_scenario`` as ``load_policy`` takes them.
    """
    files, mapping = read_lineup(folder, space=space, scenario=scenario, any_scenario=any_scenario)
    return {name: file.policy for name, file in files.items()}, mapping


def read_lineup(
    folder: str | Path,
    *,
    space: BidderSpace | None = None,
    scenario: Scenario | None = None,
    any_scenario: bool = False,
) -> tuple[dict[str, PolicyFile], dict[str, str]]:
    """The same with the cards."""
    home = Path(folder)
    stems, mapping = _lineup(home / LINEUP_FILE)
    return {
        name: read_policy(home / f"{stem}.safetensors", space=space, scenario=scenario, any_scenario=any_scenario)
        for name, stem in stems.items()
    }, mapping


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


def _check_space(path: Path, card: PolicyCard, space: BidderSpace | None) -> None:
    if space is None:
        return
    for name in ("segments", "max_multiplier"):
        if getattr(card, name) != getattr(space, name):
            raise ValueError(
                f"{path}: {name} is {getattr(card, name)}; allowed is the scenario's {getattr(space, name)}"
            )


def _check_scenario(path: Path, card: PolicyCard, scenario: Scenario) -> None:
    trained = card.scenario
    if trained.hash != scenario.hash:
        raise ValueError(
            f"{path}: scenario is {trained.name} ({trained.hash}); allowed is the running one, {scenario.name} "
            f"({scenario.hash}), or ask for any scenario (--any-scenario, any_scenario=True)"
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


def _lineup(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """File names by policy, and policies by advertiser, as a lineup file says."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != "tribid-lineup" or content.get("version") != 1:
        raise ValueError(f"{path} is no lineup of version 1; allowed is what save_lineup writes")
    stems, mapping = (_names(path, key, content.get(key)) for key in ("policies", "mapping"))
    first: dict[str, str] = {}
    for name, stem in stems.items():
        if not _STEM.fullmatch(stem):
            raise ValueError(
                f"{path}: policies.{name} is {stem!r}; allowed is a file's name of letters, digits, - and _"
            )
        if first.setdefault(stem.lower(), name) != name:
            raise ValueError(
                f"{path}: policies.{name} is {stem!r}, as {first[stem.lower()]!r} is; allowed is a file each"
            )
    for advertiser, name in mapping.items():
        if name not in stems:
            raise ValueError(f"{path}: mapping.{advertiser} is {name!r}; choose {', '.join(stems)}")
    return stems, mapping


def _names(path: Path, key: str, content: Any) -> dict[str, str]:
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f"{path}: {key} is {content!r:.80}; allowed is an object from names to names")
    return content


def file_stems(names: list[str]) -> dict[str, str]:
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
