"""The decision log's allow-list: what of a decision leaves the process, in which type, and nothing else.

A file is Parquet with exactly ``COLUMNS``, in their order, one row per decision; lists hold a page's candidates or slots in
the order in which they were decided. ``user`` is the one column about a person, and holds no user id: see ``user_token``.
"""

from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pyarrow import Schema

FORMATS = ("1", "2")
"""The formats that can be read, oldest first; a new one comes when a column comes, goes, or changes its meaning."""

FORMAT = FORMATS[-1]
"""The format that is written."""

CANDIDATES = (
    "ads", "pctr", "pcvr", "creative", "multiplier", "left_micros", "bid_micros", "candidate_score", "propensity",
)  # fmt: skip
"""The columns that hold a list of a page's candidates."""

SLOTS = ("winner", "price_micros", "score")
"""The columns that hold a list of a page's slots."""

ARMS = ("active", "split", "shadow")


class Column(NamedTuple):
    """A column: its name and type, the field of ``Decided`` that it holds (empty: the log's own), and what it means.

    ``optional``: null stands for nobody, or nothing known. ``since`` is the format that brought it; in rows of an older one
    it is null.
    """

    name: str
    type: str
    field: str
    unit: str
    meaning: str
    optional: bool = False
    since: str = "1"


COLUMNS = (
    Column("id", "string", "id", "", "the page, `DAY.REQUEST`, as in events"),
    Column("time_ms", "int64", "time_ms", "ms since 1970", "when it was decided"),
    Column("day", "int64", "day", "", "the day, which names the draws"),
    Column("tick", "int32", "tick", "", "the tick of the day"),
    Column("request", "int64", "request", "", "the request's number within the day, which names the draws"),
    Column("user", "string", "user", "", "keyed hash of the user, 32 hex digits; null where nobody was named", True),
    Column("scenario", "string", "scenario", "", "hash of the scenario, 16 hex digits"),
    Column("seed", "uint64", "seed", "", "names the draws of ties"),
    Column("release", "string", "release", "", "the policies that bid, `NAME@VERSION`"),
    Column("arm", "string", "arm", "", "why these: `active`, `split`, or `shadow` (never shown nor reserved)"),
    Column("tribid", "string", "", "", "version of tribid that decided"),
    Column("segment", "int32", "segment", "", "the user segment that the policies acted on"),
    Column(
        "scene", "string", "scene", "", "the journey's scene that the page is in; null where there are none", True, "2"
    ),
    Column("reserve_micros", "int64", "reserve_micros", "micros", "the least bid that takes part"),
    Column(
        "buying", "float64", "buying", "0 to 1", "belief that the visit means to buy; null where there is none", True
    ),
    Column("ads", "list<int32>", "ads", "", "candidates: advertisers by index in the scenario"),
    Column("pctr", "list<float32>", "pctr", "0 to 1", "each candidate's predicted click rate"),
    Column("pcvr", "list<float32>", "pcvr", "0 to 1", "each candidate's predicted conversion rate of a click"),
    Column("creative", "list<int8>", "creative", "", "the creative each would be shown with; -1 for none"),
    Column("multiplier", "list<float64>", "multiplier", "", "each candidate's bid multiplier on this page"),
    Column("left_micros", "list<int64>", "left_micros", "micros", "what each candidate could still promise"),
    Column("bid_micros", "list<int64>", "bid_micros", "micros", "each candidate's bid after OCPC"),
    Column("candidate_score", "list<float64>", "", "", "bid in micros times weight; -1 for what took no part"),
    Column("propensity", "list<float32>", "propensity", "0 to 1", "chance that the candidate is on the page"),
    Column("winner", "list<int64>", "winner", "", "slots from the top: the advertiser; -1 for an empty slot"),
    Column("price_micros", "list<int64>", "price_micros", "micros", "each slot's price, per click or per impression"),
    Column("score", "list<float64>", "score", "", "each slot's score; 0 for an empty slot"),
    Column("runner_up", "int64", "runner_up", "", "the best advertiser without a slot; -1 for nobody"),
    Column("runner_up_score", "float64", "runner_up_score", "", "its score; 0 for nobody"),
    Column("fallbacks", "list<string>", "fallbacks", "", "stages that fell back, such as `predict:last_known`"),
    Column("stage_ms", "map<string, float64>", "stage_ms", "ms", "how long each stage took"),
)
"""The columns, in their order."""


def columns_of(format: str) -> tuple[Column, ...]:
    """The columns that a file of that format has, in their order.

    >>> [column.name for column in COLUMNS if column not in columns_of("1")]
    ['scene']
    """
    return tuple(column for column in COLUMNS if FORMATS.index(column.since) <= FORMATS.index(format))


TYPES: dict[str, Any] = {
    column.name: np.dtype(column.type.removeprefix("list<").removesuffix(">"))
    for column in COLUMNS
    if column.name in CANDIDATES + SLOTS
}
"""The numpy type of what the lists of numbers hold."""

_PERSON = b"tribid user"


def user_token(salt: bytes, user: int) -> str | None:
    """A user as the log names them: keyed BLAKE2b of the index, 128 bits, 32 hex digits; None for nobody (-1).

    Without the salt nobody can tell whose it is; with it, whoever tries every user can. So keep it, or throw it away.

    >>> user_token(b"0123456789abcdef", 7) == user_token(b"0123456789abcdef", 7)
    True
    >>> user_token(b"0123456789abcdef", 7) == user_token(b"fedcba9876543210", 7)
    False
    """
    if user < 0:
        return None
    return blake2b(user.to_bytes(8, "little"), digest_size=16, key=salt, person=_PERSON).hexdigest()


@cache
def arrow_schema(format: str = FORMAT) -> "Schema":
    """The schema of every file of a format; ``ImportError`` without pyarrow."""
    pa, _ = arrow()
    fields = []
    for column in columns_of(format):
        name, _, of = column.type.rstrip(">").partition("<")
        if name == "list":
            kind = pa.list_(pa.field("element", getattr(pa, of)(), nullable=False))
        elif name == "map":
            kind = pa.map_(pa.string(), pa.field("value", pa.float64(), nullable=False))
        else:
            kind = getattr(pa, name)()
        fields.append(pa.field(column.name, kind, nullable=column.optional))
    return pa.schema(fields)


def arrow() -> tuple[Any, Any]:
    """``pyarrow`` and ``pyarrow.parquet``; ``ImportError`` names what to install."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("a decision log is Parquet and needs pyarrow: pip install 'tribid[logs]'") from error
    return pyarrow, pyarrow.parquet
