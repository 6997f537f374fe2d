"""A Redis server of the tests' own, where the machine has the program."""

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class RedisServer(NamedTuple):
    url: str
    folder: Path  # where it keeps its files

    def prefix(self) -> str:
        """Of keys that nobody else uses."""
        return uuid.uuid4().hex


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A running server that only a socket in a folder of its own reaches; one per session."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server, which is not on this machine")
    pytest.importorskip("redis")
    folder = Path(tempfile.mkdtemp(prefix="tribid-redis-"))  # a socket's path must be short
    path = folder / "s"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--appendonly", "yes",
         "--appendfsync", "always", "--rdbcompression", "no", "--save", "3600 1", "--daemonize", "no", "--logfile", "log"],
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not _listens(path):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.02)
        yield RedisServer(f"unix://{path}", folder)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
