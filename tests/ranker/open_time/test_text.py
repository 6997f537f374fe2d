import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.ranker.open_time.text import MAX_READ, Typeface, clean

FACE = Typeface(18)
ANY_TEXT = st.text(st.characters(), max_size=600)  # every code point, lone surrogates and unassigned ones too


@given(ANY_TEXT)
def test_clean_text_is_one_short_line_without_what_cannot_be_seen(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= MAX_READ and cleaned == cleaned.strip() and "  " not in cleaned
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for letter in cleaned)
    cleaned.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\u202eb\u2066c\u200bd\u200de\ufefff", "abcdef"),
        ("a\x00b\x07c\x1bd\x7f", "abcd"),
        ("a\n\r\n\tb\u2028c\u00a0d\u3000e", "a b c d e"),
        ("\ud800x\udfff", "x"),
        ("Zo\u0308\u0301\u0302\u0303e", "Zö\u0301e"),
        ("q" + "\u0301" * 200, "q\u0301"),
        ("\u0301\u0301x", "x"),
        ("<b onclick='x()'>&amp;", "<b onclick='x()'>&amp;"),
        ("x" * 100_000, "x" * MAX_READ),
        (" \t\n ", ""),
    ],
)
def test_what_has_no_place_in_a_line_is_dropped(text: str, told: str) -> None:
    assert clean(text) == told


@given(ANY_TEXT, st.integers(40, 300), st.integers(1, 3))
def test_no_line_is_wider_than_it_may_be_and_there_are_no_more_than_asked_for(text: str, width: int, most: int) -> None:
    lines = FACE.lines(clean(text), width, most)
    assert len(lines) <= most
    assert all(FACE.width(line) <= width for line in lines)


@given(st.text("abcdefg \N{LATIN SMALL LETTER E WITH ACUTE}", max_size=60))
def test_text_that_fits_is_drawn_whole(text: str) -> None:
    cleaned = clean(text)
    assert " ".join(FACE.lines(cleaned, 10_000, 2)) == FACE.drawable(cleaned)


def test_text_that_does_not_fit_ends_with_an_ellipsis_and_long_words_are_broken() -> None:
    two = FACE.lines("many short words that are too many for two lines of this width", 150, 2)
    assert len(two) == 2 and two[1].endswith("…") and not two[0].endswith("…")
    broken = FACE.lines("x" * 200, 100, 2)
    assert len(broken) == 2 and set(broken[0]) == {"x"} and broken[1].endswith("x…")


def test_letters_that_the_font_lacks_become_what_it_has() -> None:
    assert FACE.drawable("Größe Élan 10 €") == "Grosse Elan 10 EUR"
    assert FACE.drawable("漢😀") == "\ufffd\ufffd"


def test_a_font_that_is_none_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.ttf").write_bytes(b"no font")
    with pytest.raises(ValueError, match=r"x.ttf cannot be read"):
        Typeface(12, [tmp_path / "x.ttf"])


def test_a_second_font_draws_what_the_first_has_not() -> None:
    pytest.importorskip("matplotlib", reason="its DejaVu Sans is the second font")
    from matplotlib import get_data_path

    both = Typeface(18, [f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"])
    assert both.drawable("Größe Ж Ω") == "Größe Ж Ω"
    assert all(both.width(line) <= 90 for line in both.lines("Größe ЖЖЖ Ω and so on", 90, 2))
