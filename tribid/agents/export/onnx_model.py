"""A policy as ONNX, for servers of others: everything from the raw observation to action and multiplier is in the graph.

Inputs are ``observation`` [rows, D], unnormalised, and, of a policy with a memory, its state by name; outputs ``action``
and ``multiplier`` [rows, S] and the state for the next tick as ``next_NAME``. At the start of a day every number of a
state is what the file's metadata say under ``state``. The metadata also hold the policy's name, the scenario's name and
hash, and the SHA-256 of the safetensors weights that the graph was made from.

Tribid serves the safetensors file, never this one: an ONNX runtime sums in an order of its own, so actions agree to a few
last digits, not to the bit.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tribid.agents.export.bcq import add_bcq
from tribid.agents.export.diffusion import add_diffusion
from tribid.agents.export.graph import Graph
from tribid.agents.export.lstm import add_lstm
from tribid.agents.export.perceptrons import add_adjusting, add_discrete, add_mlp, add_scaled
from tribid.agents.export.transformer import add_transformer
from tribid.agents.policy_file import PolicyFile
from tribid.files import write_atomically

KINDS: dict[str, Callable[[Graph, Any], str]] = {
    "mlp": add_mlp,
    "lstm": add_lstm,
    "discrete": add_discrete,
    "scaled": add_scaled,
    "adjusting": add_adjusting,
    "transformer": add_transformer,
    "diffusion": add_diffusion,
    "bcq": add_bcq,
}
"""How each kind of network is written; the names are those of the cards."""


def onnx_bytes(file: PolicyFile) -> bytes:
    """The ONNX file of a policy; the same bytes for the same policy file.

    ``ValueError`` for a kind of network that cannot be written, named with those that can.
    """
    card, policy = file
    add = KINDS.get(card.network.kind)
    if add is None:
        raise ValueError(
            f"policy {card.name!r} is a {card.network.kind}; allowed as ONNX are {', '.join(KINDS)}: export it without"
        )
    graph = Graph(len(card.observation))
    graph.answer(add(graph, policy), card.segments, card.max_multiplier)
    model = graph.model(f"tribid {card.network.kind}", _metadata(file, graph))
    return bytes(model.SerializeToString(deterministic=True))


def save_onnx(file: PolicyFile, path: str | Path) -> None:
    """Write a policy's ONNX file, whole or not at all."""
    write_atomically(path, onnx_bytes(file))


def _metadata(file: PolicyFile, graph: Graph) -> dict[str, str]:
    card = file.card
    return {
        "name": card.name,
        "tribid_version": card.tribid_version,
        "scenario": card.scenario.name,
        "scenario_hash": card.scenario.hash,
        "weights_sha256": card.weights_sha256,
        "kind": card.network.kind,
        "algorithm": card.training.algorithm,
        "segments": str(card.segments),
        "ticks": str(card.ticks),
        "max_multiplier": repr(card.max_multiplier),
        "observation": json.dumps([field.name for field in card.observation]),
        "state": json.dumps(graph.starts),
    }
