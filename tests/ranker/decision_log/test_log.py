"""What is logged comes back exactly; files are whole; a request never waits for its log."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.ranker.decision_log.pages import SALT, random_pages, same
from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log import DecisionLog, LogReader, new_salt, read_salt
from tribid.ranker.decision_log import files as files_module

TINY = load_scenario("tiny")
MANY = TINY.with_changes(generated__count=2_000)


def written(folder: Path, pages: list[Decided], scenario: Scenario = TINY, **options: object) -> DecisionLog:
    with DecisionLog(folder, scenario=scenario, salt=SALT, **options) as log:  # type: ignore[arg-type]
        for page in pages:
            log.append(page)
    return log


def eventually(is_true: object, what: str) -> None:
    for _ in range(3_000):
        if is_true():  # type: ignore[operator]
            return
        time.sleep(0.01)
    pytest.fail(f"after 30 s still not: {what}")


def assert_round_trip(folder: Path, pages: list[Decided], scenario: Scenario = TINY) -> None:
    log = written(folder, pages, scenario)
    found = list(LogReader(folder))
    assert log.state().error == "" and len(found) == len(pages)
    for page, logged in zip(pages, found, strict=True):
        assert same(page, logged.decided) and logged.decided.user == -1


def test_decisions_come_back_bit_for_bit(tmp_path: Path) -> None:
    assert_round_trip(tmp_path, random_pages(TINY, 300))


@pytest.mark.parametrize("candidates", [1, 2_000])
def test_pages_of_one_and_of_most_candidates_come_back(candidates: int, tmp_path: Path) -> None:
    assert_round_trip(tmp_path, random_pages(MANY, 6, candidates=candidates), MANY)


def test_a_page_that_nobody_won_comes_back(tmp_path: Path) -> None:
    pages = [page for page in random_pages(TINY, 400) if page.winner[0] < 0]
    assert pages and all(page.runner_up == -1 for page in pages)
    assert_round_trip(tmp_path, pages)


def test_numbers_that_are_hard_to_write_come_back(tmp_path: Path) -> None:
    page = random_pages(TINY, 1)[0]
    odd = page._replace(
        time_ms=2**53 - 1,
        day=2**32 - 2,
        request=2**32 - 1,
        id=f"{2**32 - 2}.{2**32 - 1}",
        seed=2**63 - 1,
        buying=0.1,  # no float32
        multiplier=np.array([0.1, np.nextafter(0, 1), 1 / 3, -0.0, np.nan]),
        pctr=np.array([0.1, np.nextafter(np.float32(0), np.float32(1)), 1, -0.0, np.nan], np.float32),
        left_micros=np.array([0, 2**63 - 1, -1, 2**53 + 1, 7]),
        runner_up_score=float(np.nextafter(1.0, 2.0)),
        stage_ms={"predict": 0.1, "bid": 5e-324},
    )
    assert_round_trip(tmp_path, [odd, odd._replace(buying=float("nan"))])


def test_a_file_holds_as_many_rows_as_asked_for_and_rows_keep_their_order(tmp_path: Path) -> None:
    log = written(tmp_path, random_pages(TINY, 25), rows_per_file=10)
    reader = LogReader(tmp_path)
    assert log.state().files == len(reader.files) == 3 and reader.rows == 25
    assert [sum(1 for _ in LogReader(file)) for file in reader.files] == [10, 10, 5]
    assert [logged.decided.request for logged in reader] == list(range(25))


def test_a_file_appears_after_its_time_without_another_request(tmp_path: Path) -> None:
    with DecisionLog(tmp_path, scenario=TINY, salt=SALT, seconds_per_file=0.2) as log:
        log.append(random_pages(TINY, 1)[0])
        eventually(lambda: log.state().written == 1, "the file is written")
        assert LogReader(tmp_path).rows == 1 and log.state().waiting == 0


def test_a_file_appears_when_its_rows_fill_the_memory_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module.FileBuffer, "BYTES", 10_000)
    log = written(tmp_path, random_pages(TINY, 500))
    assert log.state().files > 2 and LogReader(tmp_path).rows == 500


def test_a_full_queue_drops_decisions_counts_them_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, writing = threading.Event(), threading.Event()
    write_file = files_module.write_file

    def slow(*arguments: object) -> None:
        writing.set()
        assert disk.wait(60)
        write_file(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files_module, "write_file", slow)
    pages = random_pages(TINY, 101)
    room = 10 * (3_000 + 41 * len(pages[0].ads))
    log = DecisionLog(tmp_path, scenario=TINY, salt=SALT, rows_per_file=1, queue_bytes=room)
    log.append(pages[0])
    assert writing.wait(60)  # the disk is stuck with the first file
    for page in pages[1:]:
        log.append(page)  # and nobody waits
    assert log.state().dropped == 90 and log.state().waiting == 11
    disk.set()
    log.close()
    assert log.state().written == 11 and log.state().lost == 90 and log.state().waiting == 0
    reader = LogReader(tmp_path)
    assert [logged.decided.request for logged in reader] == list(range(11))
    assert reader.lost == 90


def test_appending_from_many_threads_loses_and_doubles_nothing(tmp_path: Path) -> None:
    pages = random_pages(TINY, 400)
    log = DecisionLog(tmp_path, scenario=TINY, salt=SALT, rows_per_file=37)

    def append_each(part: list[Decided]) -> None:
        for page in part:
            log.append(page)

    threads = [threading.Thread(target=append_each, args=(pages[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(logged.decided.request for logged in LogReader(tmp_path)) == list(range(400))


def test_a_record_that_is_not_whole_is_refused_alone_and_counted(tmp_path: Path) -> None:
    page = random_pages(TINY, 1)[0]
    bad = [
        page._replace(scenario="f" * 16),
        page._replace(arm="secret"),
        page._replace(id="somebody@example.org"),
        page._replace(pctr=page.pctr[:-1]),
        page._replace(pctr=page.pctr.astype(np.float64)),
        page._replace(winner=page.winner[:, None]),
        page._replace(bid_micros=None),
    ]
    log = written(tmp_path, [page, *bad, page])
    assert log.state().refused == len(bad) and log.state().written == 2
    assert LogReader(tmp_path).rows == 2 and LogReader(tmp_path).lost == len(bad)
    assert "example" not in log.state().error


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scenario": "f" * 16}, "scenario is ffffffffffffffff; allowed is"),
        ({"arm": "test"}, "arm is 'test'; allowed is active, split, shadow"),
        ({"score": np.zeros(2, np.float32)}, "score is float32 of shape"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, object], field: str, tmp_path: Path) -> None:
    log = written(tmp_path, [random_pages(TINY, 1)[0]._replace(**change)])
    assert field in log.state().error


def test_a_disk_that_fails_costs_its_file_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_file, calls = files_module.write_file, []

    def failing(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        write_file(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files_module, "write_file", failing)
    log = written(tmp_path, random_pages(TINY, 20), rows_per_file=10)
    state = log.state()
    assert (state.failed, state.written, state.files, state.waiting) == (10, 10, 1, 0)
    assert "No space left on device" in state.error and "No space left on device" in caplog.text
    assert LogReader(tmp_path).rows == LogReader(tmp_path).lost == 10


def test_a_value_that_fits_no_column_costs_its_rows_and_the_log_goes_on(tmp_path: Path) -> None:
    pages = random_pages(TINY, 3)
    with DecisionLog(tmp_path, scenario=TINY, salt=SALT, rows_per_file=1) as log:
        log.append(pages[0]._replace(tick=2**40))
        eventually(lambda: log.state().failed == 1, "the row is counted")
        log.append(pages[1])
    assert log.state().written == 1 and log.state().waiting == 0


def test_a_closed_log_refuses_and_closing_again_does_nothing(tmp_path: Path) -> None:
    page = random_pages(TINY, 1)[0]
    log = written(tmp_path, [page])
    log.close()
    with pytest.raises(RuntimeError, match="is closed"):
        log.append(page)
    assert LogReader(tmp_path).rows == 1


def test_a_log_without_decisions_writes_no_file(tmp_path: Path) -> None:
    assert written(tmp_path, []).state().files == 0
    with pytest.raises(ValueError, match=r"has no decisions; allowed is a folder with files such as decisions-\*"):
        LogReader(tmp_path)


def test_two_logs_share_a_folder(tmp_path: Path) -> None:
    pages = random_pages(TINY, 6)
    with DecisionLog(tmp_path, scenario=TINY, salt=SALT) as one, DecisionLog(tmp_path, scenario=TINY, salt=SALT) as two:
        for i, page in enumerate(pages):
            (one, two)[i % 2].append(page)
    assert len(LogReader(tmp_path).files) == 2
    assert sorted(logged.decided.request for logged in LogReader(tmp_path)) == list(range(6))


ENDLESS = """
import sys
from tests.ranker.decision_log.pages import SALT, random_pages
from tribid.envs.scenario import load_scenario
from tribid.ranker.decision_log import DecisionLog
scenario = load_scenario("tiny")
pages = random_pages(scenario, 64)
log = DecisionLog(sys.argv[1], scenario=scenario, salt=SALT, rows_per_file=200)
print("writing", flush=True)
while True:
    for page in pages:
        log.append(page)
"""


def test_kill_9_while_writing_leaves_whole_files_only(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == b"writing\n"
        for _ in range(3_000):
            if len(list(tmp_path.glob("decisions-*.parquet"))) >= 5:
                break
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=60)
    files = sorted(tmp_path.glob("decisions-*.parquet"))
    assert len(files) >= 5 and child.returncode == -signal.SIGKILL
    expected = {page.request: page for page in random_pages(TINY, 64)}
    for file in files:
        rows = list(LogReader(file))
        assert len(rows) == 200
        assert all(same(expected[row.decided.request], row.decided) for row in rows[:10])


FORGOTTEN = """
import sys
from tests.ranker.decision_log.pages import SALT, random_pages
from tribid.envs.scenario import load_scenario
from tribid.ranker.decision_log import DecisionLog
scenario = load_scenario("tiny")
log = DecisionLog(sys.argv[1], scenario=scenario, salt=SALT)
for page in random_pages(scenario, 7):
    log.append(page)
"""


def test_a_program_that_ends_without_closing_its_log_loses_nothing(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", FORGOTTEN, str(tmp_path)], cwd=root, check=True, timeout=120)
    assert LogReader(tmp_path).rows == 7


def test_a_salt_of_a_file_is_all_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "salt"
    file.write_bytes(SALT + b"\n")
    assert read_salt(file) == SALT + b"\n"
    file.write_bytes(b"secret")
    with pytest.raises(ValueError, match="salt is 6 bytes; allowed are 16 to 64") as told:
        read_salt(file)
    assert "secret" not in str(told.value)
    assert new_salt() != new_salt() and len(new_salt()) == 32


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rows_per_file": 0}, "rows_per_file is 0; allowed is 1 to"),
        ({"rows_per_file": True}, "rows_per_file is True"),
        ({"seconds_per_file": float("nan")}, "seconds_per_file is nan"),
        ({"queue_bytes": -1}, "queue_bytes is -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        DecisionLog(tmp_path, scenario=TINY, salt=SALT, **options)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        DecisionLog(tmp_path / "file" / "log", scenario=TINY, salt=SALT)
