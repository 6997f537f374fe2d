import io
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.ranker.open_time.house import an_item
from tribid.ranker.open_time.card import BOXES, HEIGHT, HINT, PICTURE, PRICE, TITLE, WIDTH, Box, Card, Painter, card_of
from tribid.ranker.open_time.text import Typeface, clean

PAINTER = Painter(seed=3)


def pixels(png: bytes) -> NDArray[np.uint8]:
    """RGB [340, 280, 3] of a PNG, which must be a whole one of the cards' size."""
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG" and image.size == (WIDTH, HEIGHT)
    image.verify()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def inside(box: Box) -> tuple[slice, slice]:
    return slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)


def assert_white_around_the_boxes(shown: NDArray[np.uint8]) -> None:
    outside = np.ones((HEIGHT, WIDTH), bool)
    for box in BOXES:
        outside[inside(box)] = False
    assert outside.sum() > 20_000
    assert (shown[outside] == 255).all()


def a_card(title: str = "Lamp", **changed: object) -> Card:
    card = card_of(3, an_item(3))
    return card._replace(title=title, **changed)  # type: ignore[arg-type]


HOSTILE = (
    "x" * 100_000, "W" * 300, "\u202e\u2066evil\u2069" * 20, "a" + "\u0301" * 5_000, "\u200b\u200d\ufeff" * 99,
    "Z\u0351\u036b\u0343\u036a" * 80, "<img src=x onerror=alert(1)>", "\x00\x01\x1b[31m\n\r\t\x7f", "\ud800\udfff" * 9,
    "\U0001f600\U0001f468\u200d\U0001f469\U0001f3f3\ufe0f" * 20, "漢字" * 100, "مرحبا بالعالم" * 9, "\ufdfd" * 40,
    "\U000e0041" * 50, "\u0f40\u0fb5\u0fa8\u0fb2\u0f80\u0f7e" * 30, "{{7*7}}${7*7}%n%s", "' OR 1=1 --", "\u2028\u2029\x85",
    "\ua9c5\U00012bab\U00012219\u2e3b" * 30, "",
)  # fmt: skip


@pytest.mark.parametrize("title", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_title_stays_in_its_box(title: str) -> None:
    shown = pixels(PAINTER.draw(a_card(clean(title))))
    assert_white_around_the_boxes(shown)
    plain = pixels(PAINTER.draw(a_card("Lamp")))
    for box in (PICTURE, PRICE, HINT):
        assert (shown[inside(box)] == plain[inside(box)]).all()


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=300))
@example("Ớ" * 50)
def test_any_title_gives_a_whole_picture_of_one_size_with_nothing_around_its_boxes(title: str) -> None:
    assert_white_around_the_boxes(pixels(PAINTER.draw(a_card(clean(title)))))


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=80))
def test_even_uncleaned_text_stays_in_its_boxes(title: str, price: str) -> None:
    drawable = "".join(letter for letter in title if not 0xD800 <= ord(letter) < 0xE000)
    spare = "".join(letter for letter in price if not 0xD800 <= ord(letter) < 0xE000)
    assert_white_around_the_boxes(pixels(PAINTER.draw(a_card(drawable, price=spare, hint=spare))))


def test_title_price_and_hint_are_each_drawn_in_their_box() -> None:
    one = pixels(PAINTER.draw(a_card()))
    for changed, box in (
        ({"title": "Kettle"}, TITLE),
        ({"price": "USD 1.00"}, PRICE),
        ({"hint": "Only 1 left"}, HINT),
        ({"item": 4}, PICTURE),
    ):
        other = pixels(PAINTER.draw(a_card()._replace(**changed)))  # type: ignore[arg-type]
        differs = (one != other).any(axis=2)
        assert differs[inside(box)].any()
        differs[inside(box)] = False
        assert not differs.any()


def test_text_is_dark_and_few_left_is_red() -> None:
    shown = pixels(PAINTER.draw(a_card(hint="Only 2 left", few=True))).astype(int)
    assert shown[inside(TITLE)].min() < 60
    red = shown[inside(HINT)]
    darkest = red.reshape(-1, 3)[red.sum(axis=2).argmin()]
    assert darkest[0] > 2 * darkest[1] and darkest[0] > 2 * darkest[2]


def test_the_item_looks_as_in_the_shop() -> None:
    from tribid.envs.pictures import picture

    drawn = pixels(PAINTER.draw(a_card()))[inside(PICTURE)].astype(float)
    shop = Image.fromarray(picture(3, 3, 0, np.zeros(4, np.float32)))
    wanted = np.asarray(shop.resize((PICTURE.width, PICTURE.height), Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(drawn - wanted).mean() < 8  # 192 colours instead of all


def test_equal_cards_are_equal_bytes_from_every_thread() -> None:
    wanted, got = PAINTER.draw(a_card()), []
    threads = [threading.Thread(target=lambda: got.append(PAINTER.draw(a_card()))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [wanted] * 6
    assert Painter(seed=3).draw(a_card()) == wanted != Painter(seed=4).draw(a_card())


def test_a_price_is_never_shown_below_what_is_asked() -> None:
    for micros, told in (
        (0, "0.00"),
        (1, "0.01"),
        (10_000, "0.01"),
        (10_001, "0.02"),
        (1_234_567_890_000, "1,234,567.89"),
    ):
        assert card_of(0, an_item(price_micros=micros)).price == f"USD {told}"


def test_the_largest_price_is_drawn_whole() -> None:
    price = card_of(0, an_item(price_micros=10**14), "WWW").price
    assert Typeface(24).lines(price, PRICE.width, 1) == [price]


def test_the_stock_is_told_where_few_are_left() -> None:
    assert [card_of(0, an_item(count=count)).hint for count in (1, 5, 6, 10**9)] == [
        "Only 1 left",
        "Only 5 left",
        "In stock",
        "In stock",
    ]


def test_the_fallback_has_the_cards_size_and_shows_no_price() -> None:
    shown = pixels(PAINTER.fallback())
    assert_white_around_the_boxes(shown)
    assert (shown[inside(PRICE)] == 255).all() and (shown[inside(PICTURE)] != 255).any()
