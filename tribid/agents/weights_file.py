"""A safetensors file of float32 tensors, whose names and shapes are known before: read without trusting a byte of it."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from tribid.agents.plain_file import parse_json, read_plain

MAX_FILE_BYTES = 64 << 20
MAX_HEADER_BYTES = 1 << 20

Shapes = Mapping[str, tuple[int, ...]]
_ENTRY = {"dtype", "shape", "data_offsets"}
_WIDTH = 4


def read_weights(path: Path) -> bytes:
    """The file's bytes, at most ``MAX_FILE_BYTES``; ``ValueError`` for a link, a pipe, a folder, or nothing there."""
    if not path.is_file():
        raise ValueError(f"{path} is no file; allowed is a policy's safetensors file")
    return read_plain(path, MAX_FILE_BYTES)


def tensors_of(path: Path, data: bytes, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
    """The tensors in ``data``, exactly those of ``shapes``, float32 and finite; ``path`` is only named in errors.

    The header is checked in full before any tensor is made: its length, that it names each tensor once, with the type
    and shape that is called for, and that tensors lie one after another without a hole, an overlap or a rest.
    """
    header, start = _header_of(path, data)
    wrong = sorted(set(shapes) ^ set(header))
    if wrong:
        kind = "missing" if wrong[0] in shapes else "not called for"
        raise ValueError(f"{path}: tensor {wrong[0]!r:.80} is {kind}; allowed are exactly {', '.join(shapes)}")
    spans = {name: _span(path, name, header[name], shape) for name, shape in shapes.items()}
    _check_places(path, spans, len(data) - start)
    return _decoded(path, data)


def _header_of(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors' bytes start."""
    length = int.from_bytes(data[:8], "little")
    most = min(MAX_HEADER_BYTES, len(data) - 8)
    if len(data) < 8 or length > most:
        raise ValueError(f"{path}: header length is {length} in {len(data)} bytes; allowed is at most {max(most, 0)}")
    header = parse_json(data[8 : 8 + length], f"{path}: header")
    if not isinstance(header, dict):
        raise ValueError(f"{path}: header is {header!r:.80}; allowed is a JSON object of tensors")
    header.pop("__metadata__", None)
    return header, 8 + length


def _span(path: Path, name: str, entry: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """From which byte to which a tensor lies, counted from the header's end."""
    given = entry if isinstance(entry, dict) else {}
    sizes, place = given.get("shape"), given.get("data_offsets")
    if given.get("dtype") != "F32" or not _is_whole(sizes) or sizes != list(shape) or set(given) != _ENTRY:
        raise ValueError(
            f"{path}: tensor {name} is {given.get('dtype')!r:.20} of shape {sizes!r:.80}; "
            f"allowed is F32 of shape {list(shape)}"
        )
    size = _WIDTH * prod(shape)
    if not isinstance(place, list) or not _is_whole(place) or len(place) != 2 or place[1] - place[0] != size:
        raise ValueError(f"{path}: tensor {name} has data_offsets {place!r:.80}; allowed are {size} bytes")
    return place[0], place[1]


def _is_whole(numbers: Any) -> bool:
    """Whether it is a list of whole numbers: True equals 1 and 36.0 equals 36, but neither is a size."""
    return isinstance(numbers, list) and all(type(number) is int for number in numbers)


def _check_places(path: Path, spans: Mapping[str, tuple[int, int]], size: int) -> None:
    at = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda span: span[1]):
        if begin != at:
            raise ValueError(
                f"{path}: tensor {name} begins at byte {begin}; allowed is {at}, where the one before it ends"
            )
        at = end
    if at != size:
        raise ValueError(f"{path}: tensors end at byte {at} of {size}; allowed is a safetensors file without a rest")


def _decoded(path: Path, data: bytes) -> dict[str, NDArray[np.float32]]:
    try:
        tensors: dict[str, NDArray[np.float32]] = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from None
    for name, values in tensors.items():
        wrong = ~np.isfinite(values)
        if wrong.any():
            raise ValueError(f"{path}: tensor {name} holds {values[wrong][0]}; allowed are finite numbers")
    return tensors
