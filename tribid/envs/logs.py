"""Impression logs: one schema, the formats that are read into it, and what is refused.

The columns of the schema, in time order, one row per impression that was offered:

    click                0 or 1: what a user who was shown the ad did
    market_price_micros  int64: the least bid that would have won the impression
    pctr                 float32 in [0, 1]: the predicted click rate
    conversion           0 or 1, optional (0)
    pcvr                 float32 in [0, 1], optional (0): the predicted conversion rate of a click
    timestamp_ms         int64, optional: milliseconds since 1970, UTC
    tick                 int64 from 0, optional: the tick of the day

A row becomes a replayed auction: a bid of at least `market_price_micros` wins it and pays that price. What the log does
not hold, the clicks of impressions that its own bidder lost, no reader can restore.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tribid.envs import ipinyou
from tribid.envs.ipinyou import CampaignStats, read_info
from tribid.files import replacing

__all__ = ["CampaignStats", "ImpressionLog", "Skipped", "read_info", "read_log", "write_log"]

FORMATS = ("auto", "csv", "parquet", "theta", "ipinyou")

REQUIRED = ("click", "market_price_micros", "pctr")
OPTIONAL = ("conversion", "pcvr", "timestamp_ms", "tick")

MAX_PRICE_MICROS = 10**15
"""A thousand million units of currency for one impression: above it a price is a mistake."""

_MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999
_REASONS = 5

_LIMITS: dict[str, tuple[int, int, str]] = {
    "click": (0, 1, "0 or 1"),
    "market_price_micros": (0, MAX_PRICE_MICROS, f"a whole number from 0 to {MAX_PRICE_MICROS}"),
    "conversion": (0, 1, "0 or 1"),
    "timestamp_ms": (0, _MAX_TIME_MS, f"a whole number from 0 to {_MAX_TIME_MS}"),
    "tick": (0, 2**31 - 1, f"a whole number from 0 to {2**31 - 1}"),
    "conversion_count": (0, 2**31 - 1, f"a whole number from 0 to {2**31 - 1}"),
}


@dataclass(frozen=True)
class Skipped:
    """What was left out of a log: how many rows, and why the first few of them."""

    count: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ImpressionLog:
    """N impressions in time order; the columns are those of the module's schema, each an array [N] that is read-only.

    `pctr` is None where the source predicts nothing: fit a predictor on `features` (N rows, text or numbers, or None)
    and pass its answer to `with_pctr`. Raises ValueError for what the schema does not allow.

    >>> log = ImpressionLog(click=[0, 1], market_price_micros=[700, 60], pctr=[0.5, 0.25])
    >>> len(log), log.pcvr.tolist()
    (2, [0.0, 0.0])
    """

    click: NDArray[np.int8]
    market_price_micros: NDArray[np.int64]
    pctr: NDArray[np.float32] | None = None
    conversion: NDArray[np.int8] = None  # type: ignore[assignment]
    pcvr: NDArray[np.float32] = None  # type: ignore[assignment]
    timestamp_ms: NDArray[np.int64] | None = None
    tick: NDArray[np.int64] | None = None
    features: pl.DataFrame | None = None
    skipped: Skipped = field(default_factory=Skipped)

    def __post_init__(self) -> None:
        count = np.size(self.click)
        if count == 0:
            raise ValueError("a log needs at least one impression")
        for name in ("conversion", "pcvr"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(count))
        for name in REQUIRED + OPTIONAL:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _column(name, getattr(self, name), count))
        order = self.timestamp_ms if self.timestamp_ms is not None else self.tick
        if order is not None and (np.diff(order) < 0).any():
            raise ValueError(
                "a log is in time order: sort it by timestamp_ms, or by tick where there is no timestamp_ms"
            )
        if self.features is not None and not set(self.features.columns).isdisjoint(REQUIRED + OPTIONAL):
            raise ValueError("features may not be named as the log's own columns: " + ", ".join(REQUIRED + OPTIONAL))
        if self.features is not None and self.features.height != count:
            raise ValueError(
                f"features has {self.features.height} rows, allowed is one for each of {count} impressions"
            )

    def __len__(self) -> int:
        return int(self.click.size)

    def with_pctr(self, pctr: ArrayLike) -> "ImpressionLog":
        """Return the same log with the predictions `pctr` [N], each from 0 to 1."""
        values = {name: getattr(self, name) for name in REQUIRED + OPTIONAL}
        values["pctr"] = pctr
        return ImpressionLog(**values, features=self.features, skipped=self.skipped)

    def to_frame(self) -> pl.DataFrame:
        """Return the columns that the log has, those of `features` last."""
        columns = {name: getattr(self, name) for name in REQUIRED + OPTIONAL if getattr(self, name) is not None}
        frame = pl.DataFrame(columns)
        return frame if self.features is None else frame.hstack(self.features)

    def equals(self, other: "ImpressionLog") -> bool:
        """Answer whether both logs hold the same numbers and features; what was skipped does not count."""
        return self.to_frame().equals(other.to_frame())


def read_log(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    on_bad_row: str = "raise",
    price_unit_micros: int | None = None,
) -> ImpressionLog:
    """Read an impression log.

    The formats, and how "auto" tells them apart, by content and never by name:

    * "parquet": the file starts with the bytes PAR1. Columns as in the schema, others become `features`.
    * "ipinyou": the first line has 27 or 29 fields separated by tabs. `pctr` is None, `features` the columns of
      `ipinyou.FEATURES`; the paying price is the market price; rows are sorted by their timestamp.
    * "theta": the first line is three fields separated by spaces: click, price, pctr.
    * "csv": anything else that is text. A header names the columns; fields are separated by commas, without quotes.

    Rows keep the order of the file, except that rows with a timestamp_ms (or else a tick) are sorted by it, stably.

    `price_unit_micros` is what an impression costs at price 1 in the iPinYou formats (default 10, see
    `tribid.envs.ipinyou`); the schema's own price is in micros already. With on_bad_row="skip" malformed rows are left
    out and reported in the log's `skipped`.

    Raises OSError where the file cannot be opened, and ValueError, with file, line, field, value and what is allowed,
    for a malformed row; also for an empty file, for missing columns, for what is no text, and where no row is left.
    """
    name = os.fspath(path)
    if format not in FORMATS:
        raise ValueError(f"no log format named {format!r}; choose {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if on_bad_row not in ("raise", "skip"):
        raise ValueError(f"on_bad_row is {on_bad_row!r}, allowed is 'raise' or 'skip'")
    if price_unit_micros is not None and not 1 <= price_unit_micros <= 10**9:
        raise ValueError(f"price_unit_micros is {price_unit_micros!r}, allowed is a whole number from 1 to 10^9")
    with open(path, "rb") as file:
        start = file.read(4)
        chosen = "parquet" if format == "auto" and start == b"PAR1" else format
        data = b"" if chosen == "parquet" else start + file.read()
    if not start or (chosen != "parquet" and not data.strip()):
        raise ValueError(f"{name} is empty; a log has at least one impression")
    chosen = _detect(data) if chosen == "auto" else chosen
    if chosen in ("csv", "parquet") and price_unit_micros not in (None, 1):
        raise ValueError(f"{name} has its prices in micros (market_price_micros): leave price_unit_micros out")
    source = _parquet_rows(name, path) if chosen == "parquet" else _text_rows(name, data, chosen)
    unit = 1 if chosen in ("csv", "parquet") else price_unit_micros or ipinyou.PRICE_UNIT_MICROS
    return _parse(source, unit, on_bad_row)


def write_log(log: ImpressionLog, path: str | os.PathLike[str]) -> None:
    """Write a log that `read_log` reads back equal: CSV where the path ends in .csv, Parquet where in .parquet.

    The file is whole or not there at all. In CSV, features become text. Raises ValueError for another ending, for a log
    without pctr, and in CSV for text with a comma, a quote, a line's end or spaces around it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ValueError(f"cannot tell the format of {os.fspath(path)}; the name must end in .csv or .parquet")
    if log.pctr is None:
        raise ValueError("the log has no pctr: fit a predictor on its features and pass the answer to log.with_pctr")
    frame = log.to_frame()
    if suffix == ".csv":
        text = pl.col(pl.String)
        unsafe = frame.select(text.str.contains(r'[,"\r\n]|^\s|\s$').any())
        hostile = [column for column in unsafe.columns if unsafe[column][0]]
        if hostile:
            raise ValueError(f"CSV cannot hold the commas, quotes or spaces in {', '.join(hostile)}; write .parquet")
        frame = frame.with_columns(pl.col("pctr", "pcvr").cast(pl.Float64))  # 17 digits bring a float32 back exactly
    with replacing(path) as temporary:
        if suffix == ".csv":
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary)


@dataclass(frozen=True)
class _Source:
    """Rows as they stand in a file, and how to speak of them."""

    name: str
    rows: pl.DataFrame  # text, or the types of a Parquet file
    first_line: int
    word: str  # "line" or "row"
    lengths: NDArray[np.uint32] | None = None  # how many fields each line [N] of a text has
    price: str = "market_price_micros"
    features: tuple[str, ...] = ()


class _Faults:
    """The bad rows of one source: a mask [N], and per field the first few complaints."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self.bad = np.zeros(source.rows.height, dtype=np.bool_)
        self._reasons: list[tuple[int, str]] = []
        if source.lengths is not None:
            width = source.rows.width
            names = ", ".join(source.rows.columns[:4]) + (", ..." if width > 4 else "")
            self.bad |= source.lengths != width
            for row in np.flatnonzero(self.bad)[:_REASONS].tolist():
                self._reasons.append((row, f"it has {source.lengths[row]} fields, allowed are {width}: {names}"))

    def add(self, column: str, wrong: NDArray[np.bool_], allowed: str) -> None:
        """Mark the rows that are `wrong` [N] and not yet bad."""
        fresh = wrong & ~self.bad
        for row in np.flatnonzero(fresh)[:_REASONS].tolist():
            value = self._source.rows[column][row]
            self._reasons.append((row, f"{column} is {str(value)[:80]!r}, allowed is {allowed}"))
        self.bad |= wrong

    def settle(self, on_bad_row: str) -> Skipped:
        """Return what is skipped, or raise for the first bad row, or where no row is left."""
        where = f"{self._source.name} {self._source.word} "
        first = sorted(self._reasons)[:_REASONS]
        reasons = tuple(f"{where}{row + self._source.first_line}: {reason}" for row, reason in first)
        if reasons and on_bad_row == "raise":
            raise ValueError(f'{reasons[0]}; pass on_bad_row="skip" to leave such rows out')
        if self.bad.all():
            raise ValueError(f"{self._source.name} holds no usable row; the first: {reasons[0] if reasons else 'none'}")
        return Skipped(int(self.bad.sum()), reasons)


def _detect(data: bytes) -> str:
    line = data.lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0].rstrip(b"\r")
    if line.count(b"\t") + 1 in (len(ipinyou.LOG_COLUMNS), len(ipinyou.LOG_COLUMNS) + len(ipinyou.COUNT_COLUMNS)):
        return "ipinyou"
    return "theta" if len(line.split()) == 3 and b"," not in line else "csv"


def _text_rows(name: str, data: bytes, chosen: str) -> _Source:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is no text: byte {error.start} is not UTF-8; a log is CSV, text or Parquet"
        ) from error
    if "\x00" in text:
        raise ValueError(f"{name} is no text: it holds a zero byte; a log is CSV, text or Parquet")
    lines = pl.Series("line", text.rstrip("\r\n").split("\n")).str.strip_chars_end("\r")
    if chosen == "theta" and ("\t" in text or "  " in text):
        lines = lines.str.strip_chars().str.replace_all(r"\s+", " ")
    separator = {"csv": ",", "theta": " ", "ipinyou": "\t"}[chosen]
    header = [title.strip() for title in lines[0].split(separator)]
    if chosen == "csv":
        _check_header(name, header)
        lines, columns = lines[1:], header
        if lines.is_empty():
            raise ValueError(f"{name} is empty below its header; a log has at least one impression")
    elif chosen == "theta":
        columns = list(ipinyou.THETA_COLUMNS)
    else:
        more = ipinyou.COUNT_COLUMNS if len(header) > len(ipinyou.LOG_COLUMNS) else ()
        columns = [*ipinyou.LOG_COLUMNS, *more]
    parts = lines.str.split(separator)
    lengths = parts.list.len().to_numpy()
    rows = pl.DataFrame([parts.list.get(i, null_on_oob=True).alias(title) for i, title in enumerate(columns)])
    if chosen == "csv":
        rows = rows.with_columns(pl.all().str.strip_chars())
        known = REQUIRED + OPTIONAL
        return _Source(name, rows, 2, "line", lengths, features=tuple(c for c in columns if c not in known))
    if chosen == "theta":
        return _Source(name, rows, 1, "line", lengths, price="price")
    return _Source(name, rows, 1, "line", lengths, price="paying_price", features=ipinyou.FEATURES)


def _parquet_rows(name: str, path: str | os.PathLike[str]) -> _Source:
    try:
        rows = pl.read_parquet(Path(path), glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ValueError(f"{name} is no readable Parquet file: {str(error).splitlines()[0]}") from error
    _check_header(name, rows.columns)
    if rows.is_empty():
        raise ValueError(f"{name} is empty; a log has at least one impression")
    known = REQUIRED + OPTIONAL
    for column in rows.select(pl.col(c) for c in known if c in rows.columns).iter_columns():
        if not column.dtype.is_numeric() and column.dtype not in (pl.Boolean, pl.String):
            raise ValueError(f"{name}: {column.name} has the type {column.dtype}, allowed are numbers")
    return _Source(name, rows, 1, "row", features=tuple(c for c in rows.columns if c not in known))


def _check_header(name: str, header: list[str]) -> None:
    missing = [title for title in REQUIRED if title not in header]
    if missing:
        raise ValueError(
            f"{name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(repr(title[:40]) for title in header[:12])}; a log needs {', '.join(REQUIRED)} "
            f"and may have {', '.join(OPTIONAL)}"
        )
    if len(set(header)) != len(header):
        raise ValueError(f"{name} names a column twice: {', '.join(header)}")


def _parse(source: _Source, unit: int, on_bad_row: str) -> ImpressionLog:
    faults = _Faults(source)
    rows = source.rows
    ceiling = MAX_PRICE_MICROS // unit
    prices = _whole(rows[source.price], faults, (0, ceiling, f"a whole number from 0 to {ceiling}"))
    values: dict[str, NDArray[Any]] = {
        "click": _whole(rows["click"], faults, _LIMITS["click"]),
        "market_price_micros": prices * unit,
    }
    for name in ("pctr", "pcvr"):
        if name in rows.columns:
            values[name] = _share(rows[name], faults)
    for name in ("conversion", "timestamp_ms", "tick"):
        if name in rows.columns:
            values[name] = _whole(rows[name], faults, _LIMITS[name])
    if source.price == "paying_price":
        stamps = ipinyou.utc_ms(rows["timestamp"])
        faults.add("timestamp", stamps.is_null().to_numpy(), "a time yyyyMMddHHmmssSSS from 1970 on")
        values["timestamp_ms"] = stamps.fill_null(0).to_numpy()
        if "conversion_count" in rows.columns:
            counts = _whole(rows["conversion_count"], faults, _LIMITS["conversion_count"])
            values["conversion"] = np.minimum(counts, 1)
    skipped = faults.settle(on_bad_row)
    kept = np.flatnonzero(~faults.bad)
    order = values.get("timestamp_ms", values.get("tick"))
    if order is not None:
        kept = kept[np.argsort(order[kept], kind="stable")]
    features = rows.select(source.features)[kept] if source.features else None
    return ImpressionLog(**{name: v[kept] for name, v in values.items()}, features=features, skipped=skipped)


def _whole(values: pl.Series, faults: _Faults, limits: tuple[int, int, str]) -> NDArray[np.int64]:
    """Return `values` as int64 [N], 0 where they are no whole numbers within the limits; those are marked."""
    low, high, allowed = limits
    if values.dtype.is_float() or values.dtype.is_decimal():
        values = values.set(values != values.round(), None)
    numbers = values.cast(pl.Int64, strict=False)
    wrong = ~numbers.is_between(low, high).fill_null(False)
    faults.add(values.name, wrong.to_numpy(), allowed)
    return numbers.set(wrong, 0).to_numpy()


def _share(values: pl.Series, faults: _Faults) -> NDArray[np.float32]:
    """Return `values` as float32 [N], 0 where they are no numbers from 0 to 1; those are marked."""
    numbers = values.cast(pl.Float64, strict=False)
    wrong = ~numbers.is_between(0.0, 1.0).fill_null(False)
    faults.add(values.name, wrong.to_numpy(), "a number from 0 to 1")
    return numbers.set(wrong, 0.0).to_numpy().astype(np.float32)


def _column(name: str, values: ArrayLike, count: int) -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.shape != (count,) or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}, allowed are {count} numbers")
    if name in ("pctr", "pcvr"):
        if not ((array >= 0) & (array <= 1)).all():
            raise ValueError(f"{name} must be numbers from 0 to 1")
        shares = array.astype(np.float32)
        shares.flags.writeable = False
        return shares
    low, high, allowed = _LIMITS[name]
    if not ((array >= low) & (array <= high)).all() or (array.dtype.kind == "f" and (array % 1 != 0).any()):
        raise ValueError(f"{name} must be {allowed}")
    whole = array.astype(np.int8 if name in ("click", "conversion") else np.int64)
    whole.flags.writeable = False
    return whole
