"""Which brands a category has, what is bought with it, and whose items the catalogue's are. Ours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.places import NOBODY

_PAIRS, _DEALT = 1, 2
_WORLD = 0xFFFFFFFF
"""The day under which a world's own draws are made: no market day has it."""


@dataclass(frozen=True, eq=False)
class Categories:
    """C categories of A brands and I items.

    ``category`` [A] is each brand's; ``pairs`` [C, L] lists the complements of each category (-1 behind the end) and
    ``goes_with`` [C + 1, C] says whether a category is one of them (row -1, of those who bought nothing: none). Brands
    [C + 1, .] of a category (``own``), of its complements (``complements``) and of both (``around``) come in ascending
    order, ``NOBODY`` behind the end; row -1 is empty. ``seller`` [I] is the brand whose item each is, -1 for nobody's.
    """

    category: NDArray[np.int32]
    pairs: NDArray[np.int32]
    goes_with: NDArray[np.bool_]
    own: NDArray[np.int32]
    complements: NDArray[np.int32]
    around: NDArray[np.int32]
    seller: NDArray[np.int32]


def categories_of(config: JourneyWorld, category: NDArray[np.int64], item_category: NDArray[np.int32]) -> Categories:
    """The tables of a world whose brands have these categories [A] and whose items these [I]; its seed fixes them."""
    pairs = pairs_of(config)
    goes_with = np.zeros((config.categories + 1, config.categories), np.bool_)
    row, place = np.nonzero(pairs >= 0)
    goes_with[row, pairs[row, place]] = True
    is_own = np.zeros_like(goes_with)
    np.fill_diagonal(is_own, True)
    return Categories(
        category=category.astype(np.int32),
        pairs=pairs,
        goes_with=goes_with,
        own=_brands(is_own, category),
        complements=_brands(goes_with, category),
        around=_brands(is_own | goes_with, category),
        seller=_sellers(config, category, item_category),
    )


def pairs_of(config: JourneyWorld) -> NDArray[np.int32]:
    """The complements of each category [C, L], -1 behind the end: the scenario's, or those that the world's seed draws."""
    return given_pairs(config) if config.complements.pairs else drawn_pairs(config)


def given_pairs(config: JourneyWorld) -> NDArray[np.int32]:
    """The scenario's complements [C, L]."""
    given = config.complements.pairs
    out = np.full((config.categories, max(map(len, given))), -1, np.int32)
    for category, others in enumerate(given):
        out[category, : len(others)] = others
    return out


def drawn_pairs(config: JourneyWorld) -> NDArray[np.int32]:
    """For each category ``complements.count`` others [C, L], the same for every day."""
    count = config.categories
    draws = uniforms(config.seed, Stream.SCENE, _WORLD, np.arange(count)[:, None], np.arange(count))[..., 0]
    np.fill_diagonal(draws, 2.0)  # last: nothing goes with itself
    chosen = np.argsort(draws, axis=1, kind="stable")[:, : min(config.complements.count, count - 1)]
    return np.sort(chosen, axis=1).astype(np.int32)


def _brands(wanted: NDArray[np.bool_], category: NDArray[np.int64]) -> NDArray[np.int32]:
    """The brands of the wanted categories [C + 1, C], ascending, ``NOBODY`` behind the end."""
    which = wanted[:, category]
    out = np.full((len(wanted), max(1, int(which.sum(axis=1).max(initial=0)))), NOBODY, np.int32)
    for row, brands in enumerate(which):
        found = np.flatnonzero(brands)
        out[row, : len(found)] = found
    return out


def _sellers(config: JourneyWorld, category: NDArray[np.int64], item_category: NDArray[np.int32]) -> NDArray[np.int32]:
    """Advertised items are their own brand's; of the others a share is dealt in turn to the brands of their category."""
    brands, items = len(category), len(item_category)
    seller = np.full(items, -1, np.int32)
    seller[:brands] = np.arange(brands)
    draws = uniforms(config.seed, Stream.SCENE, _WORLD, np.arange(items), 0)[:, 1]
    dealt = (draws < config.organic.brand_share) & (np.arange(items) >= brands)
    for one in range(config.categories):
        own, items_of = np.flatnonzero(category == one), np.flatnonzero(dealt & (item_category == one))
        if len(own):
            seller[items_of] = own[np.arange(len(items_of)) % len(own)]
    return seller
