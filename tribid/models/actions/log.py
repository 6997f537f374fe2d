"""The log of proposed actions: what was proposed to whom, with what chance, and what came of it, as lines of JSON.

A folder of files ``actions-*.jsonl``. The first line of each names the features; then come ``Listed`` (an answer) and
``Happened`` (an event), in any order. Users are salted hashes, and ids are theirs. A listing or event may stand there more
than once: the first counts. What a killed process left unfinished at a file's end is passed over; else, what is no record is
refused.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from tribid.models.actions.examples import KINDS, ActionEvents

FILES: Final = "actions-*.jsonl"
MAX_LINE_BYTES: Final = 1 << 20

Name = Annotated[str, Meta(min_length=1, max_length=200)]
TimeMs = Annotated[int, Meta(ge=0, lt=2**53)]
Chance = Annotated[float, Meta(ge=0, le=1)]


class Header(Struct, tag="features", frozen=True, forbid_unknown_fields=True):
    """A file's first line: the names of the features, in order."""

    names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=2000)]


class Listed(Struct, tag="listed", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer: the ``actions`` that it proposed, first ones first, and the user's features as it was given.

    ``chances`` are the probabilities that each was in the answer, ``first_chances`` that each was its first, with which
    the worth of another policy can be estimated. ``model`` names the weights.
    """

    id: Name
    user: Name
    time_ms: TimeMs
    model: str
    features: tuple[float, ...]
    actions: tuple[Name, ...]
    propensities: tuple[Chance, ...]
    chances: tuple[Chance, ...]
    first_chances: tuple[Chance, ...]


class Happened(Struct, tag="happened", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a user did about an action. ``listing`` is the answer that proposed it; without one, ``features`` are here."""

    id: Name
    user: Name
    kind: Literal["viewed", "not_taken", "taken"]
    action: Name
    time_ms: TimeMs
    listing: Name | None = None
    features: tuple[float, ...] | None = None


class ActionLog(NamedTuple):
    """A log that was read: ``features`` names, ``listings`` by user and id, ``events`` in the order of the files.

    ``torn`` counts unfinished last lines, ``repeated`` what stood there before.
    """

    features: tuple[str, ...]
    listings: dict[tuple[str, str], Listed]
    events: tuple[Happened, ...]
    torn: int
    repeated: int


class _Whose(Struct):
    """The part of a record that says whose it is; the features' names are nobody's."""

    user: str = ""


_DECODER = msgspec.json.Decoder(Header | Listed | Happened)
_WHOSE = msgspec.json.Decoder(_Whose)
_ENCODER = msgspec.json.Encoder()


def line_of(record: Header | Listed | Happened) -> bytes:
    """The record as one line, its end included."""
    return _ENCODER.encode(record) + b"\n"


def write_log(path: str | Path, features: tuple[str, ...], records: Iterable[Listed | Happened]) -> None:
    """A whole log file at once, as a simulation writes it."""
    with open(path, "wb") as file:
        file.write(line_of(Header(features)))
        for record in records:
            file.write(line_of(record))


def read_log(folder: str | Path) -> ActionLog:
    """All files of a folder (or one file); ``ValueError`` names the file and line that is no record, and why."""
    home = Path(folder)
    files = sorted(home.glob(FILES)) if home.is_dir() else [home] if home.is_file() else []
    if not files:
        raise ValueError(f"{home} holds no {FILES}; allowed is a folder that `tribid serve` or `--simulate` wrote")
    features: tuple[str, ...] = ()
    listings: dict[tuple[str, str], Listed] = {}
    events: dict[tuple[str, str], Happened] = {}
    torn = repeated = 0
    for path in files:
        for number, record in _records(path):
            if record is None:
                torn += 1
            elif isinstance(record, Header):
                if features and record.names != features:
                    raise ValueError(
                        f"{path}:{number}: features are others than in {files[0].name}; allowed is one set"
                    )
                features = record.names
            else:
                _check(record, features, f"{path}:{number}")
                key = record.user, record.id
                if isinstance(record, Listed):
                    repeated += listings.setdefault(key, record) is not record
                else:
                    repeated += events.setdefault(key, record) is not record
    return ActionLog(features, listings, tuple(events.values()), torn, repeated)


class LearntFrom(NamedTuple):
    """``events`` as arrays; ``unknown`` counts those of actions that there are no more, ``blind`` those without features."""

    events: ActionEvents
    unknown: int
    blind: int


def events_of(log: ActionLog, actions: tuple[str, ...], *, skip_unknown: bool = False) -> LearntFrom:
    """The log's events on these actions, each with the features of its listing, or its own.

    ``ValueError`` for an action that is not among them, unless such are to be passed over.
    """
    place = {name: index for index, name in enumerate(actions)}
    users: dict[str, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    features: list[tuple[float, ...]] = []
    unknown = blind = 0
    for event in log.events:
        if event.action not in place:
            if not skip_unknown:
                raise ValueError(
                    f"event {event.id!r} is of action {event.action!r}; choose {', '.join(actions[:20])}, "
                    "or pass over actions that are no more (--skip-unknown)"
                )
            unknown += 1
            continue
        listing = log.listings.get((event.user, event.listing)) if event.listing is not None else None
        seen = event.features if listing is None else listing.features
        if seen is None:
            blind += 1
            continue
        user = users.setdefault(event.user, len(users))
        rows.append((user, place[event.action], KINDS.index(event.kind), event.time_ms))
        features.append(seen)
    table = np.array(rows, np.int64).reshape(-1, 4)
    found = ActionEvents(
        user=table[:, 0], action=table[:, 1], kind=table[:, 2].astype(np.int8), time_ms=table[:, 3],
        features=np.array(features, np.float64).reshape(-1, len(log.features)).clip(-1e30, 1e30).astype(np.float32),
    )  # fmt: skip
    return LearntFrom(found, unknown, blind)


def sorted_lines(path: Path, user: str) -> Iterator[tuple[bytes, Literal["kept", "theirs", "unreadable"]]]:
    """The lines of one file, each with what it is to a (hashed) user: of somebody else, theirs, or nobody can say whose.

    An unfinished last line is unreadable, and so are the pieces of a line that is too long.
    """
    name, whole = user.encode(), True
    with open(path, "rb") as file:
        for line in iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""):
            begins, whole = whole, line.endswith(b"\n")
            try:
                known = _WHOSE.decode(line).user if begins and whole else None
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                known = None
            yield line, "theirs" if known == user or name in line else "unreadable" if known is None else "kept"


def _records(path: Path) -> Iterator[tuple[int, Header | Listed | Happened | None]]:
    """The records of a file with their line numbers; None for an unfinished last line."""
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"{path}:{number}: the line has more than {MAX_LINE_BYTES} bytes")
            if not line.endswith(b"\n"):
                yield number, None
                return
            try:
                record = _DECODER.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise ValueError(f"{path}:{number}: no record of proposed actions: {error}") from None
            if isinstance(record, Header) != (number == 1):
                raise ValueError(f"{path}:{number}: allowed are the features' names in the first line, and only there")
            yield number, record


def _check(record: Listed | Happened, features: tuple[str, ...], place: str) -> None:
    """``ValueError`` where lists do not fit each other; JSON has no NaN, and larger numbers than a float's are refused."""
    if record.features is not None and len(record.features) != len(features):
        raise ValueError(f"{place}: features are {len(record.features)}; allowed are {len(features)}")
    if isinstance(record, Listed):
        sizes = {len(record.actions), len(record.propensities), len(record.chances), len(record.first_chances)}
        if len(sizes) > 1 or len(set(record.actions)) != len(record.actions):
            raise ValueError(f"{place}: allowed is one propensity, chance and first_chance for each action, named once")
