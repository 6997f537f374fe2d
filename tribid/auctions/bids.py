"""Bids and what comes with them, checked: the arrays that an auction may run on.

Every function here returns a new or a converted array, or raises one ValueError that names the field, the offending
value and its place, and what is allowed. Nothing is repaired silently: a NaN that loses quietly, or a negative bid that
wins, is a fault of the caller that only an error brings to light.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.auctions.score import MAX_MICROS, quality_weights

MAX_QUALITY = float(2**53)
MAX_SQUASH = 16.0


@dataclass(frozen=True, eq=False)
class CheckedBids:
    """What ``auction_rows`` takes: [B, N] bids (0 where masked out), weight and tie; [K] slot_effects; [B] reserve."""

    bids: NDArray[np.int64]
    weight: NDArray[np.float64]
    slot_effects: NDArray[np.float64]
    reserve: NDArray[np.int64]
    tie: NDArray[np.float64]


def _place(name: str, array: NDArray[Any], bad: NDArray[np.bool_]) -> str:
    """Say which entry is bad: ``name[row, column] is value``."""
    if array.ndim == 0:
        return f"{name} is {array[()]}"
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{name}[{', '.join(map(str, where))}] is {array[where]}"


def _as_array(name: str, values: ArrayLike, allowed: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{name} is not a rectangular array; allowed: {allowed}") from None
    hidden = not isinstance(values, np.ndarray) and array.dtype != np.bool_ and _hides_bool(values)
    if hidden or array.dtype.kind == "b":
        raise ValueError(f"{name} holds bools; allowed: {allowed}")
    return array


def _hides_bool(values: object) -> bool:
    if isinstance(values, list | tuple):
        return any(_hides_bool(v) for v in values)
    return isinstance(values, bool | np.bool_)


def _checked_shape(name: str, array: NDArray[Any], shape: tuple[int, ...] | None) -> None:
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} has shape {list(array.shape)}; allowed: {list(shape)}")


def checked_micros(name: str, values: ArrayLike, shape: tuple[int, ...] | None = None) -> NDArray[np.int64]:
    """Money as int64: whole micros from 0 to 2**53, above which float64 scores would no longer be exact.

    >>> checked_micros("bids_micros", [[5, 7]])
    array([[5, 7]])
    >>> checked_micros("bids_micros", [[5, -7]])
    Traceback (most recent call last):
    ValueError: bids_micros[0, 1] is -7; allowed: whole micros (integers) from 0 to 2**53
    """
    allowed = "whole micros (integers) from 0 to 2**53"
    array = _as_array(name, values, allowed)
    if array.size == 0 and not isinstance(values, np.ndarray):
        array = array.astype(np.int64, order="C")
    _checked_shape(name, array, shape)
    if array.dtype.kind in "Of" and not isinstance(values, np.ndarray):
        exact = np.array(values, dtype=object)  # integers beyond int64, which numpy turns into objects or floats
        if exact.shape == array.shape and all(isinstance(v, int) for v in exact.flat):
            raise ValueError(f"{_place(name, exact, (exact < 0) | (exact > MAX_MICROS))}; allowed: {allowed}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {array.dtype}; allowed: {allowed}")
    bad = (array < 0) | (array > MAX_MICROS)
    if bool(np.any(bad)):
        raise ValueError(f"{_place(name, array, bad)}; allowed: {allowed}")
    return array.astype(np.int64, order="C")


def checked_reals(
    name: str,
    values: ArrayLike,
    shape: tuple[int, ...] | None = None,
    *,
    least: float = 0.0,
    most: float = MAX_QUALITY,
) -> NDArray[np.float64]:
    """Finite float64 in [least, most]; -0.0 is refused, for it is the trace of a sign error.

    >>> checked_reals("pctr", [0.5, 1.5], most=1.0)
    Traceback (most recent call last):
    ValueError: pctr[1] is 1.5; allowed: numbers from 0 to 1
    """
    allowed = f"numbers from {least:g} to {most:g}" if math.isfinite(most) else "finite numbers"
    array = _as_array(name, values, allowed)
    if array.size == 0 and not isinstance(values, np.ndarray):
        array = array.astype(np.float64, order="C")
    _checked_shape(name, array, shape)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}; allowed: {allowed}")
    reals = array.astype(np.float64, order="C")
    bad = ~np.isfinite(reals) | (reals < least) | (reals > most) | ((reals == 0.0) & np.signbit(reals))
    if bool(np.any(bad)):
        raise ValueError(f"{_place(name, array, bad)}; allowed: {allowed}")
    return reals


def checked_flags(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A bool array of the given shape."""
    array = np.asarray(values)
    if array.size == 0 and not isinstance(values, np.ndarray):
        array = array.astype(np.bool_)
    if array.dtype.kind != "b":
        raise ValueError(f"{name} has dtype {array.dtype}; allowed: bool")
    _checked_shape(name, array, shape)
    return array.astype(np.bool_)


def checked_slot_effects(values: ArrayLike) -> NDArray[np.float64]:
    """Slot effects [K], K >= 1: nonnegative and never rising from one slot to the next.

    >>> checked_slot_effects([0.5, 0.8])
    Traceback (most recent call last):
    ValueError: slot_effects[1] is 0.8, above slot_effects[0] = 0.5; allowed: effects that never rise down the page
    """
    effects = checked_reals("slot_effects", values)
    if effects.ndim != 1 or effects.size == 0:
        raise ValueError(f"slot_effects has shape {list(effects.shape)}; allowed: [K] with at least one slot")
    rising = np.flatnonzero(np.diff(effects) > 0.0)
    if rising.size:
        k = int(rising[0])
        raise ValueError(
            f"slot_effects[{k + 1}] is {effects[k + 1]:g}, above slot_effects[{k}] = {effects[k]:g}; "
            "allowed: effects that never rise down the page"
        )
    return effects


def checked_bids(
    bids_micros: ArrayLike,
    quality: ArrayLike,
    slot_effects: ArrayLike,
    *,
    reserve_micros: ArrayLike = 0,
    squash: float = 1.0,
    eligible: ArrayLike | None = None,
    tie_break: ArrayLike | None = None,
) -> CheckedBids:
    """The inputs of an auction, checked and converted; the caller's arrays are never written to.

    Shapes: ``bids_micros``, ``quality``, ``eligible`` and ``tie_break`` [B, N]; ``slot_effects`` [K];
    ``reserve_micros`` a scalar or [B].
    """
    bids = checked_micros("bids_micros", bids_micros)
    if bids.ndim != 2:
        raise ValueError(f"bids_micros has shape {list(bids.shape)}; allowed: [B, N], one row for each request")
    shape = (bids.shape[0], bids.shape[1])
    qualities = checked_reals("quality", quality, shape)
    effects = checked_slot_effects(slot_effects)
    power = checked_reals("squash", squash, (), most=MAX_SQUASH)
    reserve = checked_micros("reserve_micros", reserve_micros)
    if reserve.ndim == 0:
        reserve = np.full(shape[0], reserve, np.int64)
    _checked_shape("reserve_micros", reserve, (shape[0],))
    if eligible is not None:
        bids = np.where(checked_flags("eligible", eligible, shape), bids, 0)
    tie = np.empty((0, 0), np.float64)
    if tie_break is not None:
        tie = checked_reals("tie_break", tie_break, shape, least=-math.inf, most=math.inf)
    return CheckedBids(
        bids=bids,
        weight=quality_weights(qualities, float(power)),
        slot_effects=effects,
        reserve=reserve,
        tie=tie,
    )
