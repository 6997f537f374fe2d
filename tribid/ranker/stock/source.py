"""Where a stock comes from: a scenario's catalogue, or a JSON or CSV file of the shop's own."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tribid.envs.catalogue import Items, stock
from tribid.envs.feed import Feed
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.worlds import FeedWorld, ShopWorld
from tribid.ranker.stock.item import StockItem, check_url
from tribid.ranker.stock.stock import MAX_ITEMS, LiveStock
from tribid.refusals import JsonDecoder, with_choices

SHOP_URL = "https://shop.example"
MAX_FILE_BYTES = 512 * 2**20

_ITEMS = JsonDecoder(list[StockItem])

_KINDS = (
    "lamp", "kettle", "backpack", "notebook", "headset", "jacket", "sneakers", "blanket", "camera", "watch", "desk",
    "bottle", "phone case", "pan", "racket", "tent", "puzzle", "mirror", "keyboard", "scarf", "chair", "speaker",
)  # fmt: skip
_LOOKS = (
    "Amber", "Bright", "Calm", "Classic", "Compact", "Copper", "Cosy", "Crisp", "Foldable", "Indigo", "Light", "Matt",
    "Modern", "Olive", "Plain", "Rugged", "Scarlet", "Silent", "Slim", "Soft", "Solid", "Striped", "Velvet",
)  # fmt: skip


class ShopStock(NamedTuple):
    """A stock, and how popular each of its items is ([I], any positive scale)."""

    stock: LiveStock
    popularity: NDArray[np.float64]


def scenario_stock(scenario: Scenario, *, shop_url: str = SHOP_URL, count: int = 100) -> ShopStock:
    """The items of a scenario's world, the advertised ones first; ``count`` of each, sold under ``shop_url``.

    Categories, prices and popularity are the world's; titles are made up. A feed has no items but the advertised ones,
    all equally popular. ``ValueError`` for another kind of world, or more than a million items.
    """
    check_url(shop_url, "shop_url")
    world = scenario.world
    if not isinstance(world, FeedWorld):
        raise ValueError(f"scenario {scenario.name} is no feed; a stock is made of the items of a feed or a shop")
    if isinstance(world, ShopWorld) and world.catalogue.items > MAX_ITEMS:
        raise ValueError(f"world.catalogue.items is {world.catalogue.items}; allowed are up to {MAX_ITEMS} in a stock")
    feed = Feed(scenario)
    category: NDArray[Any] = feed.ads.category
    price: NDArray[Any] = feed.ads.price
    popularity = np.ones(len(price))
    if isinstance(world, ShopWorld):
        items: Items = stock(
            world.seed, world.catalogue.items, world.categories, world.users.interests,
            world.catalogue.popularity_spread, feed.ads.category, feed.ads.price,
        )  # fmt: skip
        category, price, popularity = items.category, items.price, items.weight.astype(np.float64)
    base = shop_url.rstrip("/")
    made = (
        StockItem(
            title=f"{_LOOKS[number % len(_LOOKS)]} {_KINDS[int(kind) % len(_KINDS)]} {number}",
            price_micros=round(float(cost) * MICROS),
            count=count,
            category=int(kind),
            url=f"{base}/item/{number}",
        )
        for number, (kind, cost) in enumerate(zip(category, price, strict=True))
    )
    return ShopStock(LiveStock(made), popularity)


def read_stock(path: str | Path) -> LiveStock:
    """A stock from a file: ``.json`` (a list of objects) or ``.csv`` (with a header), each item as in ``StockItem``.

    Items are numbered from 0 in the file's order. ``ValueError`` names the file, the item, what is wrong with it and, where
    a field is unknown or missing, the fields of an item.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"{file} has {file.stat().st_size} bytes; allowed are up to {MAX_FILE_BYTES}")
        if file.suffix == ".json":
            return LiveStock(_ITEMS.decode(file.read_bytes()))
        if file.suffix == ".csv":
            return LiveStock(_rows(file))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: {error}") from None
    raise ValueError(f"{file} ends in {file.suffix!r}; allowed is .json or .csv")


def _rows(file: Path) -> Iterator[StockItem]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines, strict=True)):
            yield _item(row, number)


def _item(row: dict[str | Any, str | Any], number: int) -> StockItem:
    if None in row:
        raise ValueError(f"item {number} has more cells than the header; allowed is one for each of its names")
    try:
        return msgspec.convert({name: cell for name, cell in row.items() if cell is not None}, StockItem, strict=False)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"item {number}: {with_choices(str(error), StockItem)}") from None
