import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tribid.files import replacing, write_atomically, write_json

SAVER = """
import sys
from tribid.files import write_atomically
n = 0
while True:
    write_atomically(sys.argv[1], bytes([n % 256]) * 3_000_000)
    n += 1
"""


def test_writes_text_as_utf8_and_bytes_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "price 1 ¥")
    assert (tmp_path / "a").read_bytes() == "price 1 ¥".encode()
    write_atomically(tmp_path / "a", b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["a"]


def test_equal_objects_give_equal_json_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": None})
    write_json(tmp_path / "b.json", {"a": None, "b": [1, 2.5]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_text().endswith("}\n")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_not_finite_and_keeps_the_old_file(tmp_path: Path, number: float) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match=r"a\.json.*must be finite"):
        write_json(tmp_path / "a.json", {"x": number})
    assert (tmp_path / "a.json").read_text() == "1\n"


def test_a_failing_writer_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"old")

    def fail() -> None:
        with replacing(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_temporary_path_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.parquet") as temporary:
        assert temporary.suffix == ".parquet"
        assert temporary.parent == tmp_path


def test_files_get_the_ordinary_mode_and_keep_the_one_they_have(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_atomically(tmp_path / "a", b"1")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode
    (tmp_path / "a").chmod(0o600)
    write_atomically(tmp_path / "a", b"2")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    write_atomically(tmp_path / "real", b"1")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"2"


def test_an_absent_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "absent" / "a", b"1")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "model.bin"
    for pause_s in (0.0, 0.004, 0.011, 0.017, 0.031):
        target.unlink(missing_ok=True)
        saver = subprocess.Popen([sys.executable, "-c", SAVER, str(target)])
        try:
            deadline = time.monotonic() + 60
            while not target.exists():
                assert saver.poll() is None, "the saving process ended by itself"
                assert time.monotonic() < deadline, "nothing was saved within a minute"
                time.sleep(0.001)
            for _ in range(5):  # whole at every moment, not only at the end
                seen = target.read_bytes()
                assert len(seen) == 3_000_000
                assert len(set(seen)) == 1
            time.sleep(pause_s)
        finally:
            saver.send_signal(signal.SIGKILL)
            saver.wait()
        data = target.read_bytes()
        assert len(data) == 3_000_000
        assert len(set(data)) == 1
