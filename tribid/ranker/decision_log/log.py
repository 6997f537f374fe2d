"""``DecisionLog``: every decision to Parquet, without a request ever waiting for the disk."""

import atexit
import logging
import threading
import time
from collections import deque
from pathlib import Path
from secrets import token_bytes
from typing import NamedTuple, Self

import numpy as np

from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log.files import FileBuffer, save_scenario
from tribid.ranker.decision_log.rows import fault_of, scores, to_batch
from tribid.ranker.decision_log.schema import arrow_schema
from tribid.ranker.scenes import rules_by_scene

MIN_SALT, MAX_SALT = 16, 64
"""Bytes of a salt: BLAKE2b takes no longer key, and a shorter one can be guessed."""

_CHUNK = 64  # decisions turned into rows at a time: the interpreter's lock is held for less than a millisecond
_PAUSE_S = 0.1
_DECISION_BYTES = 3_000
_CANDIDATE_BYTES = 41  # 3 x 4 (ads, pctr, pcvr) + 1 (creative) + 3 x 8 (multiplier, left, bid) + 4 (propensity)

_log = logging.getLogger("tribid.ranker.decision_log")


class LogState(NamedTuple):
    """Counts of decisions: ``written`` to ``files`` files, ``waiting`` for theirs, and lost in three ways.

    ``dropped``: the queue was full. ``refused``: not of this scenario, or no whole record. ``failed``: their file could
    not be written. ``error`` is the last reason of ``refused`` and ``failed``.
    """

    written: int
    waiting: int
    dropped: int
    refused: int
    failed: int
    files: int
    error: str

    @property
    def lost(self) -> int:
        """Decisions that the log will never hold."""
        return self.dropped + self.refused + self.failed


class DecisionLog:
    """Writes every decision of a scenario to Parquet files in a folder; see ``tribid.ranker.decision_log.schema``.

    ``append`` only puts the decision into a queue. One thread turns decisions into rows, and writes a file when
    ``rows_per_file`` rows (or 64 MiB) are there, or ``seconds_per_file`` after a file's first. A file appears when it is
    whole; a killed process loses what was not in a file yet, and nothing else. When the disk is slower than the
    requests and what waits takes more than ``queue_bytes``, decisions are dropped and counted: a request never waits, and
    never fails, for its log. Files say how many decisions their run had lost; ``state`` says it at any time.

    ``salt`` keys the hashes of users: equal salts give equal hashes, so logs can be joined. It is written nowhere.
    The folder also gets the scenario, which ``replay`` needs. Several processes may write to one folder.

    Raises ``ValueError`` for bad arguments, ``OSError`` where the folder cannot be written, ``ImportError`` without pyarrow.
    """

    def __init__(
        self, folder: str | Path, *, scenario: str | Path | Scenario, salt: bytes, rows_per_file: int = 20_000,
        seconds_per_file: float = 30.0, queue_bytes: int = 64 * 2**20,
    ) -> None:  # fmt: skip
        _check("rows_per_file", rows_per_file, 1, 10_000_000)
        _check("seconds_per_file", seconds_per_file, 0, 86_400)
        _check("queue_bytes", queue_bytes, 0, 2**40)
        self._salt, self._scenario = _checked_salt(salt), load_scenario(scenario)
        self._scenes = tuple(rules_by_scene(self._scenario))
        arrow_schema()
        none = np.zeros(0, np.float32)
        scores(self._scenario.rules, np.zeros(0, np.int64), none, none, np.zeros(0, np.int64))  # compiles, here and now
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_scenario(self.folder, self._scenario)
        self._buffer = FileBuffer(self.folder, rows_per_file, seconds_per_file)
        self._most_bytes, self._bytes = queue_bytes, 0
        self._queue: deque[Decided] = deque()
        self._taken = self._written = self._dropped = self._refused = self._failed = 0
        self._error = ""
        self._lock, self._wake, self._closed = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="tribid-decision-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def append(self, decided: Decided) -> None:
        """Log a decision; its arrays must not change afterwards. From any thread; ``RuntimeError`` after ``close``."""
        size = _size(decided)
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the decision log in {self.folder} is closed")
            if self._bytes + size > self._most_bytes:
                self._dropped += 1
            else:
                self._bytes += size
                self._queue.append(decided)

    def state(self) -> LogState:
        """What has become of the decisions so far."""
        with self._lock:
            return LogState(
                written=self._written,
                waiting=len(self._queue) + self._taken - self._written - self._refused - self._failed,
                dropped=self._dropped,
                refused=self._refused,
                failed=self._failed,
                files=self._buffer.files,
                error=self._error,
            )

    def close(self) -> None:
        """Write everything that waits, however long it takes, and end. Again: nothing. ``state`` says what is lost."""
        with self._lock:
            self._closed = True
        self._wake.set()
        self._thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            is_last = self._closed  # before taking: what was appended by then is in the queue
            chunk = self._take(min(_CHUNK, self._buffer.room))
            self._keep(chunk)
            if self._buffer.due or (is_last and not chunk):
                self._write()
            if is_last and not chunk:
                return
            if chunk:
                time.sleep(0)  # let a request that waits for the interpreter's lock go first
            else:
                self._wake.wait(_PAUSE_S)

    def _take(self, most: int) -> list[Decided]:
        with self._lock:
            chunk = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
            self._bytes -= sum(map(_size, chunk))
            self._taken += len(chunk)
        return chunk

    def _keep(self, chunk: list[Decided]) -> None:
        """Decisions into rows of the next file; those that cannot be are counted."""
        fitting = []
        for decided in chunk:
            fault = _fault(decided, self._scenario, self._scenes)
            if fault:
                self._count_lost("refused", 1, fault)
            else:
                fitting.append(decided)
        if fitting:
            try:
                self._buffer.add(to_batch(fitting, self._scenario.rules, self._salt))
            except Exception as error:  # whatever is wrong with some records, the thread must go on
                self._count_lost("failed", len(fitting), f"{type(error).__name__}: {error}")

    def _write(self) -> None:
        batches = self._buffer.take()
        rows = sum(batch.num_rows for batch in batches)
        if not rows:
            return
        try:
            self._buffer.write(batches, self.state().lost)
        except Exception as error:  # a full disk must not end the log: the next file is tried again
            self._count_lost("failed", rows, f"{type(error).__name__}: {error}")
        else:
            with self._lock:
                self._written += rows

    def _count_lost(self, how: str, count: int, why: str) -> None:
        with self._lock:
            if how == "refused":
                self._refused += count
            else:
                self._failed += count
            is_news, self._error = why != self._error, why
        if is_news:
            _log.error("decision log in %s: %d decisions %s: %s", self.folder, count, how, why)


def new_salt() -> bytes:
    """A salt that nobody else has: hashes of different logs cannot be joined then."""
    return token_bytes(32)


def read_salt(path: str | Path) -> bytes:
    """The salt in a file, all its bytes; errors tell its length, never its content."""
    try:
        return _checked_salt(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _checked_salt(salt: bytes) -> bytes:
    if not isinstance(salt, bytes) or not MIN_SALT <= len(salt) <= MAX_SALT:
        told = f"{len(salt)} bytes" if isinstance(salt, bytes) else type(salt).__name__
        raise ValueError(f"salt is {told}; allowed are {MIN_SALT} to {MAX_SALT} bytes")
    return salt


def _check(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; allowed is {low} to {high}")


def _size(decided: Decided) -> int:
    return _DECISION_BYTES + _CANDIDATE_BYTES * len(decided.ads)


def _fault(decided: Decided, scenario: Scenario, scenes: tuple[str | None, ...]) -> str:
    try:
        return fault_of(decided, scenario, scenes)
    except Exception as error:  # a field that is no array, or None
        return f"{type(error).__name__}: {error}"
