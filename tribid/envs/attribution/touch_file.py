"""Touch logs in files: Parquet or CSV, a row for each touch and each order.

Columns: ``user`` and ``brand`` (whole numbers or texts), ``time_hours`` (any origin), ``event`` (a name of
``tribid.envs.stages.Event`` in small letters; ``order`` is an order), ``channel`` (text or whole number; may be empty for
orders), and, where there are some, ``value`` (of orders, from 0; 1 where it is missing) and ``industry`` (a brand has one).
Any other column is refused, for it may be one of these misspelt.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.stages import Event

REQUIRED = ("user", "brand", "time_hours", "event")
OPTIONAL = ("channel", "value", "industry")
EVENTS = tuple(event.name.lower() for event in Event)


@dataclass(frozen=True, kw_only=True, eq=False)
class TouchLog:
    """A log whose indices count from 0 through ``users``, ``brands`` and ``channels`` (sorted names).

    ``industry`` [A] says of each brand which of ``industries`` it is of; without that column all are of one, ``all``.
    """

    touches: Touches
    orders: Orders
    users: tuple[str, ...]
    brands: tuple[str, ...]
    channels: tuple[str, ...]
    industries: tuple[str, ...]
    industry: NDArray[np.int64]


def read_touch_log(path: str | Path) -> TouchLog:
    """The log in a file, by its ending; one ``ValueError`` names the file, the column, the row and what is allowed."""
    place = Path(path)
    table = _table(place)
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise ValueError(
            f"{place} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(repr(name[:40]) for name in table.columns[:12])}; a touch log needs {', '.join(REQUIRED)} and "
            f"may have {', '.join(OPTIONAL)}"
        )
    unknown = [name for name in table.columns if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise ValueError(
            f"{place} has the unknown column{'s' * (len(unknown) > 1)} "
            f"{', '.join(repr(name[:40]) for name in unknown[:12])}; allowed are {', '.join(REQUIRED + OPTIONAL)}"
        )
    if table.is_empty():
        raise ValueError(f"{place} is empty; a touch log has at least one touch")
    event = _events(place, table["event"])
    bought = event == Event.ORDER
    users, user = _named(place, table["user"])
    brands, brand = _named(place, table["brand"])
    hours = _numbers(place, table["time_hours"], "a finite number of hours")
    channels, channel = _channels(place, table, ~bought)
    value = np.ones(len(table))
    if "value" in table.columns:
        value[bought] = _numbers(place, table["value"].fill_null(1), "a finite number from 0", least=0.0)[bought]
    industries, industry = _industries(place, table, brand, len(brands))
    touches = Touches(
        user=user[~bought], brand=brand[~bought], time_hours=hours[~bought], channel=channel, event=event[~bought]
    )
    orders = Orders(user=user[bought], brand=brand[bought], time_hours=hours[bought], value=value[bought])
    return TouchLog(
        touches=touches, orders=orders, users=users, brands=brands, channels=channels, industries=industries,
        industry=industry,
    )  # fmt: skip


def write_touch_log(
    path: str | Path, touches: Touches, orders: Orders, *, channels: tuple[str, ...] = (), industry: Any = None
) -> None:
    """Write a log as ``read_touch_log`` reads it; channels by name where given; ``industry`` [A] of each brand."""
    channel = [str(channels[c]) if channels else str(c) for c in touches.channel.tolist()]
    columns: dict[str, Any] = {
        "user": np.r_[touches.user, orders.user],
        "brand": np.r_[touches.brand, orders.brand],
        "time_hours": np.r_[touches.time_hours, orders.time_hours],
        "event": [EVENTS[e] for e in touches.event.tolist()] + ["order"] * len(orders),
        "channel": channel + [None] * len(orders),
        "value": pl.Series([None] * len(touches) + orders.value.tolist(), dtype=pl.Float64),
    }
    if industry is not None:
        columns["industry"] = np.asarray(industry)[columns["brand"]]
    table = pl.DataFrame(columns).sort("time_hours", maintain_order=True)
    if Path(path).suffix == ".csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)


def _table(place: Path) -> pl.DataFrame:
    if place.suffix not in (".parquet", ".csv"):
        raise ValueError(f"{place} ends in {place.suffix!r}; allowed are .parquet and .csv")
    if not place.is_file():
        raise ValueError(f"no file {place}; allowed is a touch log in Parquet or CSV")
    try:
        if place.suffix == ".csv":
            return pl.read_csv(place, infer_schema_length=None, glob=False)
        return pl.read_parquet(place, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ValueError(f"{place} is no readable {place.suffix[1:]} file: {str(error).splitlines()[0]}") from None


def _refuse(place: Path, column: pl.Series, wrong: NDArray[np.bool_], allowed: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{place}: {column.name} of row {row + 1} is {column[row]!r:.60}; allowed is {allowed}")


def _events(place: Path, column: pl.Series) -> NDArray[np.int64]:
    number = {name: int(Event[name.upper()]) for name in EVENTS}
    found = [number.get(name, -1) if isinstance(name, str) else -1 for name in column.to_list()]
    event = np.array(found, np.int64)
    _refuse(place, column, event < 0, f"one of {', '.join(EVENTS)}")
    return event


def _named(place: Path, column: pl.Series) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names in order (whole numbers by size, then as text), and each row's place among them."""
    if not (column.dtype.is_integer() or column.dtype == pl.String):
        raise ValueError(f"{place}: {column.name} has the type {column.dtype}; allowed are whole numbers or texts")
    _refuse(place, column, column.is_null().to_numpy(), "a whole number or a text")
    names, index = np.unique(column.to_numpy(), return_inverse=True)
    return tuple(str(name) for name in names.tolist()), index.astype(np.int64)


def _numbers(place: Path, column: pl.Series, allowed: str, least: float = -np.inf) -> NDArray[np.float64]:
    if not column.dtype.is_numeric():
        raise ValueError(f"{place}: {column.name} has the type {column.dtype}; allowed is {allowed}")
    numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    _refuse(place, column, ~np.isfinite(numbers) | (numbers < least), allowed)
    return np.asarray(numbers, np.float64)


def _channels(
    place: Path, table: pl.DataFrame, touched: NDArray[np.bool_]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Channels of the touches; without the column all are of one, ``all``."""
    if "channel" not in table.columns:
        return ("all",), np.zeros(int(touched.sum()), np.int64)
    column = table["channel"]
    _refuse(place, column, column.is_null().to_numpy() & touched, "a channel for every touch")
    return _named(place, column.filter(pl.Series(touched)))


def _industries(
    place: Path, table: pl.DataFrame, brand: NDArray[np.int64], brands: int
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if "industry" not in table.columns:
        return ("all",), np.zeros(brands, np.int64)
    names, row_industry = _named(place, table["industry"])
    industry = np.zeros(brands, np.int64)
    industry[brand] = row_industry
    _refuse(place, table["industry"], industry[brand] != row_industry, "one industry for each brand")
    return names, industry
