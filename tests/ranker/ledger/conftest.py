"""A PostgreSQL server of the tests' own, where the machine has the program."""

import getpass
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    folders = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))


@pytest.fixture(scope="session")
def postgres_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of a running server's socket, and its user; one server per session."""
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        pytest.skip("needs PostgreSQL's server programs (initdb, postgres), which are not on this machine")
    root = os.getuid() == 0
    if root and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv to start PostgreSQL, which refuses to run as root")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if root else []
    # A socket's path must be short, and its folder open to the server's user; in memory where that is possible.
    memory = Path("/dev/shm")
    folder = (memory if os.access(memory, os.W_OK) else Path("/tmp")) / f"tribid-pg-{uuid.uuid4().hex[:12]}"
    folder.mkdir(mode=0o700)
    user = "postgres" if root else getpass.getuser()
    process = None
    try:
        if root:
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [
                *as_user,
                initdb,
                "-D",
                folder / "data",
                "-U",
                user,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
                "--wal-segsize=1",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={folder}",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=50",
            "min_wal_size=2MB",
            "max_wal_size=16MB",
        ]
        with open(folder / "server.log", "wb") as log:
            process = subprocess.Popen(
                [*as_user, server, "-D", folder / "data", *(part for one in settings for part in ("-c", one))],
                stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        _await_server(process, folder, user)
        yield folder, user
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # at once: what it holds is thrown away
            process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _await_server(process: "subprocess.Popen[bytes]", folder: Path, user: str) -> None:
    import psycopg

    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            psycopg.connect(f"host={folder} user={user} dbname=postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {(folder / 'server.log').read_text()}")


@pytest.fixture
def new_database(postgres_folder: tuple[Path, str]) -> Callable[[], str]:
    """Makes an empty database and gives its DSN."""
    import psycopg

    folder, user = postgres_folder

    def make() -> str:
        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(f"host={folder} user={user} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return f"host={folder} user={user} dbname={name}"

    return make
