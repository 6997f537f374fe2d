"""The log's files: written whole, found in a folder, read in parts and checked."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from tribid.envs.scenario import Scenario, load_scenario, parse_scenario, scenario_names
from tribid.files import read_json, replacing, write_json
from tribid.ranker.decision_log.rows import Logged, from_batch
from tribid.ranker.decision_log.schema import FORMAT, FORMATS, arrow, arrow_schema

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_FORMAT, _RUN, _LOST = b"tribid.decision_log", b"tribid.run", b"tribid.lost"
_ROW_GROUP = 2_000
_READ_ROWS = 512


class FileBuffer:
    """The rows of the next file, and the folder that it goes to.

    A file is due when it holds ``rows`` rows or 64 MiB, or ``seconds`` after its first row.
    """

    BYTES = 64 * 2**20

    def __init__(self, folder: Path, rows: int, seconds: float) -> None:
        self.folder, self.run, self.files = folder, token_hex(4), 0
        self._most, self._seconds = rows, seconds
        self._batches: list[RecordBatch] = []
        self._rows = self._bytes = 0
        self._since = 0.0

    @property
    def room(self) -> int:
        """Rows until the file is full."""
        return self._most - self._rows

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        if not self._batches:
            return False
        return self.room <= 0 or self._bytes >= self.BYTES or time.monotonic() - self._since >= self._seconds

    def add(self, batch: "RecordBatch") -> None:
        """Keep some rows."""
        if not self._batches:
            self._since = time.monotonic()
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes

    def take(self) -> "list[RecordBatch]":
        """Give up the rows: a file that cannot be written must not stay in memory."""
        batches, self._batches = self._batches, []
        self._rows = self._bytes = 0
        return batches

    def write(self, batches: "Sequence[RecordBatch]", lost: int) -> Path:
        """Write rows as one file, whole or not at all; ``lost`` is how many decisions this run has not logged so far."""
        name = f"decisions-{time.time_ns() // 1_000_000:013d}-{self.run}-{self.files:06d}.parquet"
        write_file(self.folder / name, batches, self.run, lost)
        self.files += 1
        return self.folder / name


def write_file(path: Path, batches: "Sequence[RecordBatch]", run: str, lost: int) -> None:
    """One file of the log, whole or not at all; pages carry checksums."""
    pa, pq = arrow()
    table = pa.Table.from_batches(batches, arrow_schema())
    table = table.replace_schema_metadata({_FORMAT: FORMAT, _RUN: run, _LOST: str(lost)})
    with replacing(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP,
            use_dictionary=["scenario", "release", "arm", "tribid", "scene"], write_page_checksum=True,
            write_statistics=False,
        )  # fmt: skip


def save_scenario(folder: Path, scenario: Scenario) -> None:
    """Write the scenario beside the log, so that its decisions can be made again wherever the folder goes."""
    write_json(folder / f"scenario-{scenario.hash}.json", scenario.model_dump(mode="json"))


def find_scenario(folder: Path, wanted: str) -> Scenario:
    """The scenario of that hash: beside the log, or one that ships with the package."""
    beside = folder / f"scenario-{wanted}.json"
    if beside.is_file():
        found = parse_scenario(read_json(beside), source=str(beside))
        if found.hash != wanted:
            raise ValueError(f"{beside} holds scenario {found.hash}; allowed is {wanted}: it was changed")
        return found
    for name in scenario_names():
        if load_scenario(name).hash == wanted:
            return load_scenario(name)
    raise ValueError(f"{folder} has no scenario-{wanted}.json, and no scenario of the package is {wanted}; name it")


def log_files(path: str | Path) -> list[Path]:
    """The log's files in a folder, oldest first, or the one file; ``ValueError`` where there is none."""
    given = Path(path)
    if given.is_file():
        return [given]
    found = sorted(file for file in given.glob("*.parquet") if not file.name.startswith("."))
    if not found:
        raise ValueError(
            f"{given} has no decisions; allowed is a folder with files such as decisions-*.parquet, or one"
        )
    return found


class LogReader:
    """The decisions of a folder or a file, a few hundred in memory at a time.

    Opening looks at every file's schema and raises ``ValueError`` for one that is no decision log; iterating raises it
    for damaged content. ``rows`` is how many decisions there are, ``lost`` how many more their writers say were decided
    but never logged.
    """

    def __init__(self, path: str | Path) -> None:
        self.files = log_files(path)
        self.folder = self.files[0].parent
        self.rows = 0
        lost: dict[bytes, int] = {}
        for file in self.files:
            with _readable(file), _opened(file) as parquet:
                told = parquet.schema_arrow.metadata
                run, count = told.get(_RUN, b""), told.get(_LOST, b"")
                if not count.isdigit():
                    raise ValueError(f"{file}: tribid.lost is {count!r:.40}; allowed is a whole number")
                lost[run] = max(lost.get(run, 0), int(count))
                self.rows += parquet.metadata.num_rows
        self.lost = sum(lost.values())

    def __iter__(self) -> Iterator[Logged]:
        for file in self.files:
            yield from _rows_of(file)


def _rows_of(file: Path) -> Iterator[Logged]:
    with _opened(file) as parquet:
        batches, start = parquet.iter_batches(_READ_ROWS), 0
        while True:
            with _readable(file):
                batch = next(batches, None)
                rows = [] if batch is None else list(from_batch(batch, file.name, start))
            if batch is None:
                break
            yield from rows
            start += len(rows)
        if start != parquet.metadata.num_rows:
            raise ValueError(f"{file} has {start} rows; allowed is {parquet.metadata.num_rows}, as its footer says")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns what a damaged file raises into one ``ValueError`` that names it."""
    pa, _ = arrow()
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise ValueError(f"{file} is no decision log that can be read: {error}") from None


def _opened(file: Path) -> Any:
    """A file as an open ``pyarrow.parquet.ParquetFile`` whose schema is that of a log of its format."""
    _, pq = arrow()
    with _readable(file):
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
    found = parquet.schema_arrow
    told = (found.metadata or {}).get(_FORMAT, b"").decode(errors="replace")
    if told not in FORMATS:
        parquet.close()
        known = " or ".join(FORMATS)
        raise ValueError(f"{file} is no decision log of format {known}: its format is {told or 'none'!r:.40}")
    wanted = arrow_schema(told)
    if not found.equals(wanted):
        parquet.close()
        raise ValueError(f"{file} is no decision log: {_schema_fault(found, wanted)}")
    return parquet


def _schema_fault(found: Any, wanted: Any) -> str:
    for name in [*wanted.names, *found.names]:
        have, want = ([s.field(i) for i in s.get_all_field_indices(name)] for s in (found, wanted))
        if len(have) != len(want) or not all(map(type(wanted[0]).equals, have, want)):
            return f"column {name!r:.80} is {_types(have) or 'absent'}; allowed is {_types(want) or 'none such'}"
    return f"its columns are in another order; allowed is {', '.join(wanted.names)}"


def _types(fields: list[Any]) -> str:
    return ", ".join(f"{field.type}{'' if field.nullable else ' not null'}" for field in fields)
