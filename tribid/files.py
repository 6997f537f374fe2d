"""Files that are whole: whoever reads one, after a crash too, sees the old content or the new, never half."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, whole or not at all.

    The folder must exist. Raises OSError, with the old file untouched, where it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(folder + "/a.txt", "one")
    ...     Path(folder, "a.txt").read_text()
    'one'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON, whole or not at all; equal objects give equal bytes.

    Keys are sorted, the indent is two spaces, and the last line ends.
    Raises ValueError for NaN and infinities, which JSON does not have, and TypeError for what is not JSON at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(folder + "/a.json", {"b": 1, "a": 2})
    ...     Path(folder, "a.json").read_text()
    '{\\n  "a": 2,\\n  "b": 1\\n}\\n'
    """
    try:
        text = json.dumps(obj, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"cannot write {os.fspath(path)}: {error}; every number must be finite") from error
    write_atomically(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; one ValueError names the file and what is wrong with it."""
    try:
        return json.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is not JSON: {error}") from None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path for a writer that takes one; when the block ends well, that file becomes `path`.

    The temporary file lies in the same folder and keeps the suffix. It is flushed to disk before it is renamed, and the
    folder after. If the block raises, `path` stays as it was and the temporary file goes. A process that is killed
    leaves `path` whole, and at most a file `.NAME.*` beside it. A link at `path` is followed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(folder + "/a.txt") as temporary:
    ...         _ = temporary.write_text("one")
    ...     os.listdir(folder)
    ['a.txt']
    """
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)
        _flush(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(target.parent)


def _umask() -> int:
    # The operating system tells the mask only by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
