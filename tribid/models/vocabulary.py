"""Vocabularies: which row of an embedding table each value of a column is.

Two kinds. A learnt vocabulary gives every value that came often enough in training a row of its own, in the order of the
values, so that ids do not depend on the order of the rows; every other value is `UNKNOWN`. A hashed one (Weinberger,
Dasgupta, Langford, Smola and Attenberg 2009) spreads all values over a fixed number of rows: nothing is learnt and
nothing is unknown, but values may share a row. Their sign bit keeps inner products of sparse vectors unbiased; it has no
part in an embedding table and is left out. In both, a missing value (null) is `UNKNOWN`.
"""

import hashlib
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tribid.models.batch import FIRST_KNOWN, UNKNOWN

Ids = NDArray[np.int32]

MAX_ROWS = 2**31 - 1
"""Ids are int32."""


class Vocabulary(BaseModel):
    """The values of one kind of column and their rows. ``integers`` or ``texts`` hold a learnt vocabulary's values, sorted.

    With ``hash_rows`` (above 2, the rows of the table with padding and unknown) values are hashed and both are empty.

    >>> words = Vocabulary(kind="texts", texts=("apple", "pear"))
    >>> words.rows, words.ids(pl.Series(["pear", "plum", None])).tolist()
    (4, [3, 1, 1])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["integers", "texts"]
    integers: list[int] = []
    texts: list[str] = []
    hash_rows: int | None = Field(None, gt=FIRST_KNOWN, le=MAX_ROWS)

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, content: object) -> object:
        if isinstance(content, dict):
            return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
        return content

    @model_validator(mode="after")
    def _sorted(self) -> "Vocabulary":
        values: list[int] | list[str] = self.integers if self.kind == "integers" else self.texts
        other = self.texts if self.kind == "integers" else self.integers
        if other or (self.hash_rows and values):
            raise ValueError(f"a vocabulary of {self.kind} holds only those, and none where they are hashed")
        if any(left >= right for left, right in pairwise(values)):  # type: ignore[operator]
            raise ValueError("the values of a vocabulary must be sorted, each once")
        if self.kind == "integers" and values and not -(2**63) <= self.integers[0] <= self.integers[-1] < 2**63:
            raise ValueError("the integers of a vocabulary must fit 64 bits")
        return self

    @property
    def rows(self) -> int:
        """Rows of the embedding table, those of padding and unknown among them.

        A vocabulary without any value (its columns held nothing but nulls) has one row more, which no id points to.
        """
        if self.hash_rows is not None:
            return self.hash_rows
        return FIRST_KNOWN + max(1, len(self.integers) + len(self.texts))

    def ids(self, values: pl.Series) -> Ids:
        """Return each value's id, [n]; ``UNKNOWN`` for null and for a value that training did not have often enough.

        Raises ValueError, which names the column, for numbers where texts were learnt, for texts where numbers were, and
        for whole numbers beyond 64 bits.
        """
        values = as_values(values)
        if self.hash_rows is None and not (self.integers or self.texts):
            return np.full(len(values), UNKNOWN, dtype=np.int32)
        if values.dtype != (pl.Int64 if self.kind == "integers" else pl.String) and values.null_count() < len(values):
            raise ValueError(f"column {values.name} holds {values.dtype}; its vocabulary was learnt from {self.kind}")
        if self.kind == "texts" and self.hash_rows is None:
            return self._of_texts(values)
        found = self._rows_of(hash64(values)) if self.hash_rows is not None else self._places_of(whole_numbers(values))
        return _null_is_unknown(found, values)

    def ids_of_array(self, values: NDArray[Any], name: str = "") -> Ids:
        """`ids` of an array of any shape: the same ones, and whole numbers cost a request no column of a data frame."""
        if self.kind != "integers" or values.dtype.kind not in "iu" or values.dtype == np.uint64:
            return self.ids(pl.Series(name, values.ravel())).reshape(values.shape)
        if self.hash_rows is not None:
            return self._rows_of(_mixed(values.astype(np.int64)))
        return self._places_of(values) if self.integers else np.full(values.shape, UNKNOWN, dtype=np.int32)

    def _places_of(self, wanted: NDArray[np.integer]) -> Ids:
        known = self._known
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, at + FIRST_KNOWN, UNKNOWN).astype(np.int32)

    def _of_texts(self, values: pl.Series) -> Ids:
        place = values.cast(pl.String).cast(self._enum, strict=False).to_physical()
        return (whole_numbers(place, null=UNKNOWN - FIRST_KNOWN) + FIRST_KNOWN).astype(np.int32)

    def _rows_of(self, hashes: NDArray[np.uint64]) -> Ids:
        assert self.hash_rows is not None
        rows: Ids = (hashes % np.uint64(self.hash_rows - FIRST_KNOWN)).astype(np.int32) + np.int32(FIRST_KNOWN)
        return rows

    @cached_property
    def _known(self) -> NDArray[np.int64]:
        return np.array(self.integers, dtype=np.int64)

    @cached_property
    def _enum(self) -> pl.Enum:
        return pl.Enum(self.texts)


class Counts:
    """How often each value of a vocabulary came, over all columns that share it and chunk after chunk."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kind: pl.DataType | None = None
        self._seen: pl.DataFrame | None = None

    def add(self, values: pl.Series, *, keep: bool = True) -> None:
        """Count a column's values; nulls are none. With `keep` off only its kind is noted, as hashing needs.

        Raises ValueError where a vocabulary would mix whole numbers and texts.
        """
        if values.dtype == pl.Null:
            return
        present = as_values(values).drop_nulls()
        if self._kind is not None and present.dtype != self._kind:
            raise ValueError(
                f"column {values.name} holds {present.dtype}, and others of the vocabulary {self._name!r} hold "
                f"{self._kind}; columns that share a vocabulary must hold one kind"
            )
        self._kind = present.dtype
        if keep:
            counted = present.alias("value").value_counts(name="count").with_columns(pl.col("count").cast(pl.Int64))
            parts = [counted] if self._seen is None else [self._seen, counted]
            self._seen = pl.concat(parts).group_by("value").agg(pl.col("count").sum())

    def vocabulary(self, *, min_count: int, hash_rows: int | None) -> Vocabulary:
        """The vocabulary of the values that came at least `min_count` times, or the hashed one."""
        kind: Literal["integers", "texts"] = "texts" if self._kind == pl.String else "integers"
        if hash_rows is not None or self._seen is None:
            return Vocabulary(kind=kind, hash_rows=hash_rows)
        values = self._seen.filter(pl.col("count") >= min_count)["value"].sort().to_list()
        return Vocabulary(kind=kind, texts=values) if kind == "texts" else Vocabulary(kind=kind, integers=values)


def as_values(values: pl.Series) -> pl.Series:
    """Return a column of ids as Int64 or String; an all-null column comes as Int64.

    Raises ValueError, which names the column, for what is neither whole numbers, booleans nor texts: numbers with
    fractions are no ids.
    """
    kind = values.dtype
    if kind == pl.String or kind == pl.Int64:
        return values
    if kind.is_integer() or kind == pl.Boolean or kind == pl.Null:
        try:
            return values.cast(pl.Int64)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"column {values.name} holds whole numbers beyond 64 bits; pass them as texts") from error
    if isinstance(kind, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    raise ValueError(f"column {values.name} holds {kind}; ids are whole numbers, booleans or texts")


def whole_numbers(values: pl.Series, *, null: int = 0) -> NDArray[np.int64]:
    """Return a column of whole numbers as int64, `null` where one is missing."""
    numbers = values if values.dtype == pl.Int64 else values.cast(pl.Int64)
    # Filling nothing costs 0.1 ms, as much as the rest of a request.
    return (numbers.fill_null(null) if numbers.null_count() else numbers).to_numpy()


def hash64(values: pl.Series) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each value, the same on every machine and in every release; of null, that of 0 or "".

    Whole numbers go through the finaliser of SplitMix64 (Steele, Lea and Flood 2014), texts through BLAKE2b.

    >>> hex(int(hash64(pl.Series([0]))[0]))
    '0xe220a8397b1dcdaf'
    """
    values = as_values(values)
    if values.dtype == pl.String:
        return _hash_texts(values.fill_null(""))
    return _mixed(whole_numbers(values))


def _mixed(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _hash_texts(values: pl.Series) -> NDArray[np.uint64]:
    # Each text is hashed once, however often it comes.
    distinct = values.unique(maintain_order=True)
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in distinct.to_list())
    place = values.cast(pl.Enum(distinct)).to_physical().to_numpy()
    hashed: NDArray[np.uint64] = np.frombuffer(digests, dtype="<u8").astype(np.uint64)[place]
    return hashed


def _null_is_unknown(ids: Ids, values: pl.Series) -> Ids:
    if values.null_count():
        ids[values.is_null().to_numpy()] = UNKNOWN
    return ids
