"""Which results are looked at and clicked, given how appealing each is: two click models of the literature.

``position``: place k is looked at with a chance of its own and clicked if it appeals (Richardson et al. 2007). ``cascade``:
people look from the top, and after a click may stop (Craswell et al. 2008; with a chance to go on after a click, Guo et al.
2009). In both a look or a click is decided by a uniform draw of its own, so that two rankings meet the same people.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ClickModel(NamedTuple):
    """``chance(appeal, setting)`` to click places, ``clicked(appeal, setting, look, click)`` by draws; all are [B, K]."""

    chance: Callable[[Floats, float], Floats]
    clicked: Callable[[Floats, float, Floats, Floats], NDArray[np.bool_]]


def looked_at(places: int, attention: float) -> Floats:
    """The chance that each place is looked at, ``k ** -attention``, as in Joachims et al. 2017.

    >>> looked_at(4, 1.0).tolist()[::3]
    [1.0, 0.25]
    """
    chance: Floats = np.arange(1, places + 1, dtype=np.float64) ** -attention
    return chance


def position_chance(appeal: Floats, attention: float) -> Floats:
    """The chance of a click at each place: looked at, and it appeals.

    >>> position_chance(np.array([[0.4, 0.4]]), 1.0).tolist()
    [[0.4, 0.2]]
    """
    return appeal * looked_at(appeal.shape[1], attention)


def position_clicked(appeal: Floats, attention: float, look: Floats, click: Floats) -> NDArray[np.bool_]:
    """Clicks [B, K]. Only ``look[:, 0]`` is used: whoever looks at a place has looked at all above it.

    >>> position_clicked(np.array([[0.4, 0.4]]), 1.0, np.array([[0.6, 0.0]]), np.array([[0.1, 0.1]])).tolist()
    [[True, False]]
    """
    clicked: NDArray[np.bool_] = (look[:, :1] < looked_at(appeal.shape[1], attention)) & (click < appeal)
    return clicked


def cascade_chance(appeal: Floats, stop: float) -> Floats:
    """The chance of a click at each place when every click stops the reader with chance ``stop``.

    >>> cascade_chance(np.array([[0.5, 0.5]]), 1.0).tolist()
    [[0.5, 0.25]]
    """
    goes_on = np.cumprod(1.0 - stop * appeal, axis=1)
    reached: Floats = np.concatenate([np.ones((len(appeal), 1)), goes_on[:, :-1]], axis=1)
    return appeal * reached


def cascade_clicked(appeal: Floats, stop: float, look: Floats, click: Floats) -> NDArray[np.bool_]:
    """Clicks [B, K]; ``look`` decides whether the reader stops after a click.

    >>> cascade_clicked(np.array([[0.5, 0.5]]), 0.5, np.array([[0.4, 0.0]]), np.array([[0.1, 0.1]])).tolist()
    [[True, False]]
    """
    would = click < appeal
    stopped = np.logical_or.accumulate(would & (look < stop), axis=1)
    there = np.concatenate([np.ones((len(appeal), 1), bool), ~stopped[:, :-1]], axis=1)
    clicked: NDArray[np.bool_] = would & there
    return clicked


CLICK_MODELS: dict[str, ClickModel] = {
    "position": ClickModel(position_chance, position_clicked),
    "cascade": ClickModel(cascade_chance, cascade_clicked),
}
"""Models of clicks; the setting is ``shoppers.attention`` of the one and ``shoppers.stop`` of the other."""
