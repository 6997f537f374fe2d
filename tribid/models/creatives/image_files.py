"""Real product pictures from files, as the arrays that encoders read; what is no picture is refused by its name."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_BYTES = 20_000_000
"""Larger files are refused unread."""

MOST_PIXELS = 40_000_000
"""Pictures that would unpack to more pixels are refused before they are unpacked (decompression bombs)."""

FORMATS = ("PNG", "JPEG", "WEBP")
"""Formats that are read, by what the file holds and not by its name; every further decoder is a further risk."""


def load_pictures(paths: Sequence[str | Path], *, size: int = 64) -> NDArray[np.uint8]:
    """The pictures of P files, uint8 [P, size, size, 3] (RGB).

    Each keeps its proportions and is centred on white; transparency is laid on white; of an animation the first frame is
    taken. EXIF data are ignored, an orientation too. Raises ValueError, with the file's name, for what is no PNG, JPEG or
    WebP, is truncated, or is larger than ``MOST_BYTES`` or ``MOST_PIXELS``; FileNotFoundError; ImportError without Pillow.
    """
    if not 8 <= size <= 1024:
        raise ValueError(f"size is {size}; allowed is 8 to 1024 pixels a side")
    loaded = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    for row, path in enumerate(paths):
        loaded[row] = _picture(Path(path), size)
    return loaded


def as_loaded(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Pictures uint8 [P, H, W, 3] as ``load_pictures`` would give them from files, uint8 [P, size, size, 3]."""
    image = _pillow()
    loaded = np.empty((len(pictures), size, size, 3), dtype=np.uint8)
    for row, one in enumerate(pictures):
        loaded[row] = _on_white(image.fromarray(one), size)
    return loaded


def inside(folder: Path, names: pl.Series, table: str = "creatives.parquet") -> list[Path]:
    """The files that a ``table`` of a log names; ``ValueError`` unless all of them are files in the log's own folder."""
    home, paths = folder.resolve(), []
    for name in names.to_list():
        path = (home / name).resolve() if isinstance(name, str) else home
        if not path.is_relative_to(home) or not path.is_file():
            raise ValueError(f"{folder / table}: picture is {name!r:.80}; allowed are files in the log's folder")
        paths.append(path)
    return paths


def _picture(path: Path, size: int) -> NDArray[np.uint8]:
    image = _pillow()
    length = path.stat().st_size
    if length > MOST_BYTES:
        raise ValueError(f"{path} has {length} bytes; allowed are {MOST_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow only warns of a picture that is too large, or of bytes that lack
            with image.open(path, formats=FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ValueError(f"it has {opened.width} x {opened.height} pixels; allowed are {MOST_PIXELS}")
                opened.load()
                return _on_white(opened, size)
    except (OSError, SyntaxError, ValueError, Warning, image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no picture that can be read ({', '.join(FORMATS)}): {error}") from error


def _on_white(opened: Any, size: int) -> NDArray[np.uint8]:
    """An opened picture with its proportions kept, in the middle of a white square."""
    image = _pillow()
    if opened.mode.startswith("I;16"):  # 16-bit grey; Pillow would cut it at 255 instead of scaling it
        opened = image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
    clear = opened.convert("RGBA")
    scale = size / max(clear.width, clear.height)
    wide, high = (max(1, round(side * scale)) for side in (clear.width, clear.height))
    flat = image.alpha_composite(image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    square = image.new("RGB", (size, size), "white")
    square.paste(flat.resize((wide, high), image.Resampling.LANCZOS), ((size - wide) // 2, (size - high) // 2))
    return np.asarray(square, dtype=np.uint8)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("load_pictures needs Pillow: pip install 'tribid[report]'") from error
    return Image
