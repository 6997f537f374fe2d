"""Cards: what a slot shows of an item, and ``Painter``, which draws it as a PNG of one size.

A card is 280 x 340 pixels: the item's picture, its title in at most two lines, its price and a hint at the stock, each in
a box of its own. A box is drawn apart and then laid into the card, so nothing can be drawn outside it, whatever the text.
The card is paletted: 192 colours for the picture, 32 shades from white to the ink of text, and 32 to that of a warning.
"""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tribid.envs.pictures import TRAITS, picture
from tribid.envs.scenario import MICROS
from tribid.ranker.open_time.text import Typeface, clean
from tribid.ranker.stock.item import StockItem

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 280, 340
FEW = 5
"""So few left are told."""

_COLOURS, _SHADES = 192, 32
_WHITE = _COLOURS  # the first shade of both inks
_INK, _WARNING = (28, 32, 38), (176, 32, 24)
_ARTS = 512


class Box(NamedTuple):
    """A rectangle of a card, in pixels: its left and upper edge, and its size."""

    x: int
    y: int
    width: int
    height: int


PICTURE = Box(42, 10, 196, 196)
TITLE = Box(14, 216, 252, 46)
PRICE = Box(14, 268, 252, 32)
HINT = Box(14, 306, 252, 22)
BOXES = (PICTURE, TITLE, PRICE, HINT)


class Card(NamedTuple):
    """All that is drawn of an item: equal cards are equal pictures. ``few`` draws the hint as a warning."""

    item: int
    category: int
    title: str
    price: str
    hint: str
    few: bool


def check_currency(currency: str) -> str:
    """Return an ISO 4217 code; ``ValueError`` for what is none."""
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise ValueError(f"currency is {currency[:20]!r}; allowed are three capital letters, as in USD")
    return currency


def card_of(number: int, item: StockItem, currency: str = "USD") -> Card:
    """What is shown of an item as it stands; the price is rounded up to a hundredth, never below what is asked.

    >>> lamp = StockItem(title="Lamp", price_micros=1_234_560_001, count=2, category=1, url="https://shop.example/lamp")
    >>> card_of(0, lamp)
    Card(item=0, category=1, title='Lamp', price='USD 1,234.57', hint='Only 2 left', few=True)
    """
    cents = -(-item.price_micros * 100 // MICROS)
    few = item.count <= FEW
    hint = f"Only {item.count} left" if few else "In stock"
    price = f"{currency} {cents // 100:,}.{cents % 100:02d}"
    return Card(number, item.category, clean(item.title), price, hint, few)


class _Art(NamedTuple):
    """An item's picture as indices of colours, and those colours, 3 bytes each."""

    image: "Image"
    colours: bytes


class Painter:
    """Draws cards, from any thread; each thread has fonts of its own, and the last 512 items' pictures are kept.

    ``seed`` is the world's, so that an item looks as it does in the shop. ``fonts`` are files of fonts for characters that
    Pillow's bundled font has not (it has the basic Latin letters).
    """

    def __init__(self, seed: int = 0, fonts: Sequence[str | Path] = ()) -> None:
        self._seed, self._fonts = seed, tuple(fonts)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._arts: OrderedDict[tuple[int, int], _Art] = OrderedDict()
        self._faces()  # raises here what is wrong with the fonts

    def draw(self, card: Card) -> bytes:
        """The card as a PNG."""
        art = self._art(card.item, card.category)
        image = _blank(art.colours)
        image.paste(art.image, (PICTURE.x, PICTURE.y))
        self._write(image, TITLE, card.title, 18, 2)
        self._write(image, PRICE, card.price, 24, 1)
        self._write(image, HINT, card.hint, 15, 1, warns=card.few)
        return _encoded(image)

    def fallback(self, title: str = "See what we picked for you", hint: str = "Open the shop") -> bytes:
        """The picture of a slot for which none could be drawn; it names no item, price or stock."""
        image = _blank(b"\xff" * (3 * _COLOURS))
        image.paste(_bag(), (PICTURE.x, PICTURE.y))
        self._write(image, TITLE, title, 18, 2)
        self._write(image, HINT, hint, 15, 1)
        return _encoded(image)

    def _art(self, item: int, category: int) -> "_Art":
        from PIL import Image

        key = (item, category)
        with self._lock:
            kept = self._arts.get(key)
            if kept is not None:
                self._arts.move_to_end(key)
                return kept
        style = np.zeros(len(TRAITS), np.float32)
        drawn = Image.fromarray(picture(self._seed, item % 2**25, category, style))
        large = drawn.resize((PICTURE.width, PICTURE.height), Image.Resampling.BICUBIC)
        image = large.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        colours = bytes(image.getpalette() or [])[: 3 * _COLOURS]
        made = _Art(image, colours.ljust(3 * _COLOURS, b"\xff"))
        with self._lock:
            self._arts[key] = made
            while len(self._arts) > _ARTS:
                self._arts.popitem(last=False)
        return made

    def _write(self, image: "Image", box: Box, text: str, size: int, most: int, warns: bool = False) -> None:
        """Draw text apart, in an image of the box's size, then lay that into the card."""
        from PIL import Image, ImageDraw

        face = self._faces()[size]
        mask = Image.new("L", (box.width, box.height), 0)
        pen = ImageDraw.Draw(mask)
        for row, line in enumerate(face.lines(text, box.width, most)):
            face.draw(pen, line, 0, row * (box.height // most), 255)
        first = _COLOURS + (_SHADES if warns else 0)
        shades: Any = [first + value * _SHADES // 256 for value in range(256)]
        image.paste(mask.point(shades), (box.x, box.y))

    def _faces(self) -> dict[int, Typeface]:
        faces: dict[int, Typeface] | None = getattr(self._local, "faces", None)
        if faces is None:
            faces = self._local.faces = {size: Typeface(size, self._fonts) for size in (15, 18, 24)}
        return faces


def _blank(colours: bytes) -> "Image":
    """A white card; text's shades are the palette's last 64 colours."""
    from PIL import Image

    image = Image.new("P", (WIDTH, HEIGHT), _WHITE)
    image.putpalette(colours + _TEXT_COLOURS)
    return image


def _bag() -> "Image":
    """A shopping bag in the shades of text, the picture of no item."""
    from PIL import Image, ImageDraw

    image = Image.new("P", (PICTURE.width, PICTURE.height), _WHITE + 2)
    pen = ImageDraw.Draw(image)
    pen.arc((73, 40, 123, 110), 180, 360, fill=_WHITE + 12, width=6)
    pen.rectangle((53, 75, 143, 155), fill=_WHITE + 12)
    return image


def _shades(ink: tuple[int, int, int]) -> list[int]:
    return [255 - (255 - part) * shade // (_SHADES - 1) for shade in range(_SHADES) for part in ink]


_TEXT_COLOURS = bytes(_shades(_INK) + _shades(_WARNING))


def _encoded(image: "Image") -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()
