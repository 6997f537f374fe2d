"""Text of anybody's that is to be drawn: cleaned, with every character that some font has, and broken into lines that fit.

Titles come from sellers. What has no place in one line of text (controls, direction marks, zero-width characters,
surrogates) is dropped, marks may not pile up, and characters that no font has become their base letter or a box.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MAX_READ = 400
"""Characters of a text that are looked at; the rest could not be drawn anyway."""

ELLIPSIS = "…"
_BOX = "\ufffd"  # drawn as the font's own sign for what it has not
_PLAIN = {
    "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
    "\u0131": "i", "þ": "th", "Þ": "Th", "€": "EUR", "£": "GBP", "¥": "JPY", "×": "x", "–": "-", "\u2014": "-",
    "\u2010": "-", "\u2011": "-", "\u2212": "-",
}  # fmt: skip
"""How letters and signs that have no base letter are spelt where no font has them."""

_MARKS = ("Mn", "Me", "Mc")


def clean(text: str) -> str:
    """One line of drawable text out of any, at most ``MAX_READ`` characters.

    Blanks of all kinds and line ends become one space; controls, format and direction characters, surrogates, private
    and unassigned ones are dropped; of the marks on a letter the first stays.

    >>> clean("<b>Red\\x00\\n\\u202elamp\\u200b</b>")
    '<b>Red lamp</b>'
    """
    kept: list[str] = []
    marked = True  # a mark without a letter has no place
    for letter in unicodedata.normalize("NFC", text[:MAX_READ]):
        kind = unicodedata.category(letter)
        if kind in _MARKS:
            if not marked:
                kept.append(letter)
            marked = True
        elif kind[0] == "Z" or letter in "\t\n\v\f\r\x85":
            kept.append(" ")
            marked = True
        elif kind[0] != "C":
            kept.append(letter)
            marked = False
    return " ".join("".join(kept).split())[:MAX_READ]


class Typeface:
    """Fonts of one size: Pillow's bundled one, then those in ``files`` (TrueType or OpenType) for what it has not.

    A character is drawn with the first font that has it; letters without shaping, from left to right. Not for use by
    several threads at a time. Raises ``ImportError`` without Pillow, ``ValueError`` for a file that is no font.
    """

    def __init__(self, size: int, files: Sequence[str | Path] = ()) -> None:
        try:
            from PIL import ImageFont
        except ImportError as error:
            raise ImportError("pictures need Pillow: pip install 'tribid[mail]'") from error
        bundled = ImageFont.load_default(size)
        if not isinstance(bundled, ImageFont.FreeTypeFont):
            raise ImportError("pictures need a Pillow with FreeType: pip install --force-reinstall pillow")
        self._fonts: list[FreeTypeFont] = [bundled.font_variant(layout_engine=ImageFont.Layout.BASIC)]
        for file in files:
            try:
                self._fonts.append(ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC))
            except OSError as error:
                raise ValueError(f"font {file} cannot be read: {error}") from None
        self._lacks = [bytes(font.getmask(_BOX)) for font in self._fonts]
        self.size = size
        self.ascent = max(font.getmetrics()[0] for font in self._fonts)
        self.line_height = max(sum(font.getmetrics()) for font in self._fonts) + 1
        self._glyph = lru_cache(4_096)(self._found_glyph)

    def drawable(self, text: str) -> str:
        """The text with characters that no font has put as their base letters, another spelling, or a box."""
        return "".join(self._glyph(letter)[0] for letter in text)

    def width(self, text: str) -> float:
        """How wide a drawable text is, in pixels."""
        return sum(self._glyph(letter)[2] for letter in text)

    def lines(self, text: str, width: int, most: int) -> list[str]:
        """A clean text as at most ``most`` drawable lines of at most ``width`` pixels, the last cut with an ellipsis."""
        words = self.drawable(text).split()
        lines: list[str] = []
        while words and len(lines) < most:
            line = self._head(words, width)
            lines.append(line)
        if words and lines:
            lines[-1] = self._cut(f"{lines[-1]} {words[0]}", width)
        return lines

    def draw(self, draw: Any, line: str, x: float, y: int, fill: int) -> None:
        """Draw a drawable line with its left end at ``x`` and its top at ``y``."""
        run, font = "", 0
        for letter in line:
            which = self._glyph(letter)[1]
            if run and which != font:
                x = self._drawn(draw, run, font, x, y, fill)
                run = ""
            run, font = run + letter, which
        if run:
            self._drawn(draw, run, font, x, y, fill)

    def _drawn(self, draw: Any, run: str, font: int, x: float, y: int, fill: int) -> float:
        drop = self.ascent - self._fonts[font].getmetrics()[0]
        draw.text((x, y + drop), run, font=self._fonts[font], fill=fill)
        return x + self.width(run)

    def _head(self, words: list[str], width: int) -> str:
        """Take words that fit into one line off the list; a word that is too long for any line is broken."""
        line = words.pop(0)
        if self.width(line) > width:
            fits = self._fitting(line, width)
            words.insert(0, line[fits:])
            return line[:fits]
        while words and self.width(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        return line

    def _cut(self, line: str, width: int) -> str:
        room = width - self.width(ELLIPSIS)
        return line if self.width(line) <= room and not line else line[: self._fitting(line, room)].rstrip() + ELLIPSIS

    def _fitting(self, line: str, width: float) -> int:
        """How many of a line's first characters fit, at least one."""
        used = 0.0
        for index, letter in enumerate(line):
            used += self._glyph(letter)[2]
            if used > width:
                return max(index, 1)
        return len(line)

    def _found_glyph(self, letter: str) -> tuple[str, int, float]:
        """What is drawn for a character, the font that has it, and its width."""
        for font, lack in zip(self._fonts, self._lacks, strict=True):
            if letter == " " or bytes(font.getmask(letter)) != lack:
                return letter, self._fonts.index(font), font.getlength(letter)
        if letter == _BOX:
            return letter, 0, self._fonts[0].getlength(letter)
        if unicodedata.category(letter) in _MARKS:
            return "", 0, 0.0
        base = _PLAIN.get(letter) or "".join(
            one for one in unicodedata.normalize("NFKD", letter) if unicodedata.category(one) not in _MARKS
        )
        if base and base != letter and all(self._glyph(one)[0] == one for one in base):
            return base, 0, sum(self._glyph(one)[2] for one in base)
        return _BOX, 0, self._fonts[0].getlength(_BOX)
