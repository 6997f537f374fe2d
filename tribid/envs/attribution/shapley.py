"""Shapley values of a game of up to 12 players, exact, from the worth of every coalition.

A coalition is a bit set: player i is in coalition S if ``S >> i & 1``. A game is its worths [2**n], the empty one's first.
Dividends are Harsanyi's: a game is the sum of unanimity games, and the Shapley value splits each equally (Shapley 1953).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_PLAYERS = 12


def dividends(worth: ArrayLike) -> NDArray[np.float64]:
    """The dividend [2**n] of every coalition: the Moebius transform of the worths.

    >>> dividends([0.0, 1.0, 2.0, 5.0]).tolist()  # together 5, of which 1 and 2 alone
    [0.0, 1.0, 2.0, 2.0]
    """
    out = _game(worth).copy()
    for i in range(_players(out)):
        with_i = _members(out, i)
        out[with_i] -= out[with_i ^ 1 << i]
    return out


def worths(dividend: ArrayLike) -> NDArray[np.float64]:
    """The worth [2**n] of every coalition: the sum of the dividends of its subsets; undoes ``dividends``."""
    out = _game(dividend).copy()
    for i in range(_players(out)):
        with_i = _members(out, i)
        out[with_i] += out[with_i ^ 1 << i]
    return out


def shapley_values(worth: ArrayLike) -> NDArray[np.float64]:
    """What each player gets in the whole game, [n]; it sums to the worth of all, less that of nobody.

    >>> shapley_values([0.0, 1.0, 2.0, 5.0]).tolist()
    [2.0, 3.0]
    """
    whole: NDArray[np.float64] = subgame_values(worth)[-1]
    return whole


def subgame_values(worth: ArrayLike) -> NDArray[np.float64]:
    """What each player gets in the game among the members of each coalition alone, [2**n, n]; 0 for who is not in it."""
    gain = dividends(worth)
    n = _players(gain)
    size = np.bitwise_count(np.arange(len(gain)))
    share = np.where(size > 0, gain / np.maximum(size, 1), 0.0)
    out = np.zeros((len(gain), n))
    for i in range(n):
        out[:, i] = worths(np.where(np.arange(len(gain)) >> i & 1, share, 0.0))
    return out


def _game(worth: ArrayLike) -> NDArray[np.float64]:
    game = np.asarray(worth, np.float64)
    if game.ndim != 1 or len(game).bit_count() != 1 or len(game) > 1 << MOST_PLAYERS:
        raise ValueError(
            f"a game has shape {game.shape}; allowed is one worth for each of 2**n coalitions, n up to {MOST_PLAYERS}"
        )
    return game


def _players(game: NDArray[np.float64]) -> int:
    return len(game).bit_length() - 1


def _members(game: NDArray[np.float64], i: int) -> NDArray[np.int64]:
    """The coalitions with player i."""
    every = np.arange(len(game))
    return every[every >> i & 1 > 0]
