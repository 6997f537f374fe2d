"""Files from others, read as bytes or JSON: no links, no pipes, no more than a cap, and nothing in them is followed."""

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_DEPTH = 16
"""The deepest nesting of a JSON file that is read; a policy's card has four levels."""


def read_plain(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes; ``ValueError`` names the path and what is allowed.

    A link is refused, so that a folder from elsewhere can name no file but its own; a pipe or a device is not waited for.
    What is checked is the file that is open, not what its name stands for a moment later.
    """
    try:
        if path.is_symlink():
            raise ValueError(f"{path} is a link; allowed is a file of its own")
        flags = os.O_RDONLY
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # not every system has all of them
            flags |= getattr(os, name, 0)
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{path} is no file; allowed is a regular file")
            data = file.read(most + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise ValueError(f"{path} is larger than {most} bytes; allowed is at most that")
    return data


def parse_json(data: bytes, what: str) -> Any:
    """What a JSON text holds; ``ValueError`` says that ``what`` is not JSON, names a key twice, or nests too deeply.

    >>> parse_json(b'{"a": 1, "a": 2}', "card")
    Traceback (most recent call last):
    ValueError: card is not JSON: key 'a' stands more than once
    """
    try:
        content = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is not JSON: {error}") from None
    if _is_deep(content):
        raise ValueError(f"{what} nests deeper than {MAX_DEPTH} levels; allowed is at most that")
    return content


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"key {key!r:.80} stands more than once")
        content[key] = value
    return content


def _is_deep(content: Any) -> bool:
    level = [content]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return True
