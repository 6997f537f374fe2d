"""How far an exported ONNX file's answers lie from those of the policy that is served."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import BidderSpace
from tribid.agents.export.onnx_file import check_onnx
from tribid.agents.networks.card import ServedPolicy
from tribid.envs.action import to_multiplier
from tribid.envs.chance import Stream, uniforms
from tribid.envs.observation import bounds, field_index

ROWS = 1200
TICKS = 8


class Parity(NamedTuple):
    """Over ``answers`` actions: the largest difference, how many lie further apart than 1e-4, and that of multipliers.

    ``multiplier`` is relative to the multiplier where that is above 1.
    """

    answers: int
    action: float
    apart: int
    multiplier: float


def onnx_parity(
    policy: ServedPolicy, path: str | Path, *, observations: Sequence[NDArray[np.float32]] | None = None
) -> Parity:
    """Ask a policy and its ONNX file the same for several ticks of a day, each carrying its own memory.

    ``observations`` are [rows, D] by tick; ``trial_observations`` where they are left out. ``ImportError`` names what is
    to be installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("comparing answers needs onnxruntime: pip install 'tribid[export]'") from error
    session = _session(onnxruntime, path)
    seen = trial_observations(policy.space) if observations is None else observations
    memory: dict[str, NDArray[Any]] = _fresh(session, len(seen[0]))
    state, differences, bids = None, [], []
    for rows in seen:
        action, state = policy.predict(rows, state)
        names = [output.name for output in session.get_outputs()]
        answer = dict(zip(names, session.run(names, {"observation": rows, **memory}), strict=True))
        memory = {name: answer[f"next_{name}"] for name in memory}
        wanted = to_multiplier(action, policy.space.max_multiplier)
        differences.append(np.abs(answer["action"].astype(np.float64) - action))
        bids.append(np.abs(answer["multiplier"] - wanted) / np.maximum(wanted, 1.0))
    every = np.stack(differences)
    return Parity(every.size, float(every.max()), int((every > 1e-4).sum()), float(np.max(bids)))


def trial_observations(space: BidderSpace, rows: int = ROWS, ticks: int = TICKS) -> list[NDArray[np.float32]]:
    """Observations [rows, D] for the first ticks of a day: both extremes, the middle, and random corners and points.

    A quarter of the rows are corners of the bounds. The time that is left is that of the tick, except in those rows.
    """
    low, high = bounds(space.segments)
    place = np.indices((rows, len(low)))
    made = []
    for tick in range(ticks):
        draws = uniforms(1, Stream.POLICY, day=tick, request=place[0], ad=place[1])[..., 0]
        seen = low + draws * (high - low)
        seen[:, field_index("time_left", space.segments)] = 1.0 - tick / max(space.n_ticks, ticks)
        corners = rows // 4
        seen[:corners] = np.where(draws[:corners] < 0.5, low, high)
        seen[:3] = low, high, 0.5 * (low + high)
        made.append(seen.astype(np.float32))
    return made


def _session(onnxruntime: Any, path: str | Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(check_onnx(path).data, options, providers=["CPUExecutionProvider"])


def _fresh(session: Any, rows: int) -> dict[str, NDArray[Any]]:
    """The state at the start of a day, as the file's metadata say."""
    starts = json.loads(session.get_modelmeta().custom_metadata_map["state"])
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    return {
        given.name: np.full([rows, *given.shape[1:]], starts[given.name], kinds[given.type])
        for given in session.get_inputs()
        if given.name in starts
    }
