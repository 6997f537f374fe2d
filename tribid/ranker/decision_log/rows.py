"""Decisions as rows of the log, and rows as decisions: exact both ways, but for the user, who stays behind."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import tribid
from tribid.auctions.score import quality_weights
from tribid.envs.scenario import Rules, Scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log.schema import (
    ARMS,
    CANDIDATES,
    COLUMNS,
    SLOTS,
    TYPES,
    arrow,
    arrow_schema,
    user_token,
)

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class Logged(NamedTuple):
    """A row: the decision (its ``user`` is always -1), who it was for as the log names them, and what the log added.

    ``candidate_score`` [N] holds every candidate's score, -1 for what took no part; ``where`` is ``"FILE row R"``.
    """

    decided: Decided
    user: str | None
    tribid: str
    candidate_score: NDArray[np.float64]
    where: str


def fault_of(decided: Decided, scenario: Scenario, scenes: Collection[str | None]) -> str:
    """Why a decision does not fit the log of a scenario with these scenes (``rules_by_scene``), naming the field.

    Empty where it fits.
    """
    if decided.scenario != scenario.hash:
        return f"scenario is {decided.scenario}; allowed is {scenario.hash}"
    if decided.scene not in scenes:
        return f"scene is {decided.scene!r:.80}; allowed is {', '.join(map(str, scenes))}"
    if decided.arm not in ARMS:
        return f"arm is {decided.arm!r}; allowed is {', '.join(ARMS)}"
    if decided.id != f"{decided.day}.{decided.request}":
        return f"id is not that of request {decided.request} of day {decided.day}; allowed is DAY.REQUEST"
    wanted = {name: (len(decided.ads),) for name in CANDIDATES} | dict.fromkeys(SLOTS, (len(decided.winner),))
    for name, kind in TYPES.items():
        if name == "candidate_score":
            continue
        values = getattr(decided, name)
        if values.dtype != kind or values.shape != wanted[name]:
            return f"{name} is {values.dtype} of shape {values.shape}; allowed is {kind} of shape {wanted[name]}"
    return ""


def to_batch(decisions: Sequence[Decided], rules: Rules, salt: bytes) -> "RecordBatch":
    """Decisions that have no fault as rows; every candidate's score is worked out here."""
    pa, _ = arrow()
    schema = arrow_schema()
    flat = {name: np.concatenate([getattr(d, name) for d in decisions]) for name in TYPES if name != "candidate_score"}
    flat["candidate_score"] = scores(
        rules, flat["bid_micros"], flat["pctr"], flat["pcvr"],
        np.repeat([d.reserve_micros for d in decisions], [len(d.ads) for d in decisions]),
    )  # fmt: skip
    candidates, slots = _offsets([len(d.ads) for d in decisions]), _offsets([len(d.winner) for d in decisions])
    made: dict[str, Callable[[Decided], Any]] = {
        "user": lambda d: user_token(salt, d.user),
        "tribid": lambda d: tribid.__version__,
        "buying": lambda d: None if np.isnan(d.buying) else float(d.buying),
        "fallbacks": lambda d: list(d.fallbacks),
        "stage_ms": lambda d: list(d.stage_ms.items()),
    }
    arrays = []
    for column, field in zip(COLUMNS, schema, strict=True):
        if column.name in TYPES:
            offsets = candidates if column.name in CANDIDATES else slots
            arrays.append(pa.ListArray.from_arrays(offsets, pa.array(flat[column.name]), type=field.type))
        else:
            value = made.get(column.name)
            found = [getattr(d, column.field) if value is None else value(d) for d in decisions]
            arrays.append(pa.array(found, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def scores(
    rules: Rules, bid_micros: NDArray[np.int64], pctr: NDArray[np.float32], pcvr: NDArray[np.float32],
    reserve_micros: NDArray[np.int64],
) -> NDArray[np.float64]:  # fmt: skip
    """The score of each candidate [M], whose request has that reserve [M]: as in ``tribid.envs.decision.decide_block``.

    -1 where the bid is below the reserve or one micro, or the score not above 0.
    """
    if rules.charge == "impression":
        weight = np.ones(len(pctr))
    else:
        weight = quality_weights(pctr.astype(np.float64)[None], rules.squash)[0]
    if rules.ocpc.strategy == "conversion_rank":
        weight = weight * pcvr.astype(np.float64)
    score = bid_micros.astype(np.float64) * weight
    takes_part = (bid_micros >= np.maximum(reserve_micros, 1)) & (score > 0)
    return np.where(takes_part, score, -1.0)


def from_batch(batch: "RecordBatch", file: str, start: int) -> Iterator[Logged]:
    """The rows of a batch whose first is row ``start`` of ``file``; ``ValueError`` where a page's lists do not match.

    A column that the file's format has not yet is null.
    """
    batch.validate(full=True)
    ends = {name: batch.column(name).offsets.to_numpy().astype(np.int64) for name in TYPES}
    for names in (CANDIDATES, SLOTS):
        for name in names:
            if not np.array_equal(np.diff(ends[name]), np.diff(ends[names[0]])):
                raise ValueError(f"{file}: {name} has not as many values in each row as {names[0]}")
    flat = {name: batch.column(name).values.to_numpy() for name in TYPES}
    plain = {name: batch.column(name).to_pylist() for name in batch.schema.names if name not in TYPES}
    for row in range(batch.num_rows):
        lists = {name: flat[name][ends[name][row] : ends[name][row + 1]] for name in TYPES}
        values = {name: column[row] for name, column in plain.items()} | lists
        user, version, score = values.pop("user"), values.pop("tribid"), values.pop("candidate_score")
        values["buying"] = float("nan") if values["buying"] is None else values["buying"]
        values["fallbacks"], values["stage_ms"] = tuple(values["fallbacks"]), dict(values["stage_ms"])
        yield Logged(Decided(**values, user=-1), user, version, score, f"{file} row {start + row}")


def _offsets(lengths: list[int]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
