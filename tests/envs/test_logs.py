import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs import ipinyou
from tribid.envs.logs import ImpressionLog, read_log, write_log

HEADER = "click,market_price_micros,pctr\n"
GOOD_ROW = (
    "0 2 13 b1 20131021135101295 1 u1 windows_ie 1.2.3.* 216 220 2 d1 l1 null s1 200 200 FirstView Na 13 7319 277 205 "
    "null 2259 10063,10083"
).replace(" ", "\t")


def put(folder: Path, text: str | bytes, name: str = "log.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def full_log(n: int = 6) -> ImpressionLog:
    rng = np.random.default_rng(0)
    return ImpressionLog(
        click=rng.integers(0, 2, n),
        market_price_micros=rng.integers(0, 10**12, n),
        pctr=rng.random(n).astype(np.float32),
        conversion=rng.integers(0, 2, n),
        pcvr=rng.random(n).astype(np.float32),
        timestamp_ms=np.sort(rng.integers(0, 10**12, n)),
        tick=np.arange(n),
        features=pl.DataFrame({"city": [f"c{i}" for i in range(n)]}),
    )


# Reading each format


def test_csv_columns_come_in_any_order_and_the_rest_gets_defaults(tmp_path: Path) -> None:
    log = read_log(put(tmp_path, "pctr, market_price_micros ,click\r\n0.25, 70,1\r\n1e-3,0,0\r\n\r\n"))
    assert log.click.tolist() == [1, 0]
    assert log.market_price_micros.tolist() == [70, 0]
    assert log.pctr is not None
    assert log.pctr.tolist() == [0.25, np.float32(0.001)]
    assert log.conversion.tolist() == [0, 0]
    assert log.pcvr.tolist() == [0.0, 0.0]
    assert (log.timestamp_ms, log.tick, log.features, log.skipped.count) == (None, None, None, 0)
    assert (log.click.dtype, log.market_price_micros.dtype, log.pctr.dtype) == (np.int8, np.int64, np.float32)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert len(read_log(put(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"0,1,0.5\n"))) == 1


def test_theta_rows_cost_ten_micros_per_price_unit(tmp_path: Path) -> None:
    # Zhang et al. 2014: a price is a CPM in fen, so price 70 is 0.0007 yuan for one impression.
    path = put(tmp_path, "0 70 0.002\n1 6 0.003\n")
    log = read_log(path)
    assert log.market_price_micros.tolist() == [700, 60]
    assert log.click.tolist() == [0, 1]
    assert read_log(path, price_unit_micros=1000).market_price_micros.tolist() == [70_000, 6000]


def test_theta_fields_may_be_aligned_with_spaces_or_tabs(tmp_path: Path) -> None:
    assert read_log(put(tmp_path, "0   70\t0.002\n1  6    0.003\n")).market_price_micros.tolist() == [700, 60]


def test_ipinyou_rows_are_sorted_by_time_and_have_features_but_no_prediction(tmp_path: Path) -> None:
    early = GOOD_ROW.replace("20131021135101295", "20131021135101294").replace("\t205\t", "\t20\t")
    log = read_log(put(tmp_path, GOOD_ROW + "\n" + early + "\n"))
    assert log.pctr is None
    assert log.market_price_micros.tolist() == [200, 2050]
    assert log.timestamp_ms is not None
    # 2013-10-21 13:51:01.295 in China is 05:51:01.295 UTC.
    expected = int(np.datetime64("2013-10-21T05:51:01.295", "ms").astype(np.int64))
    assert log.timestamp_ms.tolist() == [expected - 1, expected]
    assert log.features is not None
    assert log.features.columns == list(ipinyou.FEATURES)
    assert log.features["user_tags"].to_list() == ["10063,10083"] * 2


def test_ipinyou_features_hold_no_price_of_the_auction_and_no_person(tmp_path: Path) -> None:
    log = read_log(put(tmp_path, GOOD_ROW))
    assert log.features is not None
    assert not {"bid_price", "paying_price", "user_id", "ip", "url", "bid_id", "click"} & set(log.features.columns)


def test_ipinyou_test_rows_bring_their_conversions(tmp_path: Path) -> None:
    log = read_log(put(tmp_path, f"{GOOD_ROW}\t1\t2\n{GOOD_ROW}\t0\t0\n"))
    assert log.conversion.tolist() == [1, 0]


def test_rows_with_a_time_are_sorted_by_it_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    text = "click,market_price_micros,pctr,timestamp_ms\n0,1,0.1,9\n0,2,0.1,5\n0,3,0.1,9\n0,4,0.1,5\n"
    assert read_log(put(tmp_path, text)).market_price_micros.tolist() == [2, 4, 1, 3]
    text = text.replace("timestamp_ms", "tick")
    assert read_log(put(tmp_path, text)).market_price_micros.tolist() == [2, 4, 1, 3]


def test_formats_are_told_by_content_not_by_name(tmp_path: Path) -> None:
    log = full_log()
    write_log(log, tmp_path / "a.parquet")
    write_log(log, tmp_path / "a.csv")
    (tmp_path / "a.parquet").rename(tmp_path / "b.csv")
    (tmp_path / "a.csv").rename(tmp_path / "b.txt")
    assert read_log(tmp_path / "b.csv").equals(log)
    assert read_log(tmp_path / "b.txt").equals(log)


# Writing


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_reads_back_equal(tmp_path: Path, suffix: str) -> None:
    for log in (full_log(), ImpressionLog(click=[1], market_price_micros=[0], pctr=[1.0])):  # type: ignore[arg-type]
        write_log(log, tmp_path / f"log{suffix}")
        assert read_log(tmp_path / f"log{suffix}").equals(log)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_csv_brings_every_float32_back_exactly(tmp_path_factory: pytest.TempPathFactory, pctr: list[float]) -> None:
    path = tmp_path_factory.mktemp("round") / "log.csv"
    zeros = np.zeros(len(pctr), dtype=np.int64)
    log = ImpressionLog(click=zeros.astype(np.int8), market_price_micros=zeros, pctr=np.array(pctr, np.float32))
    write_log(log, path)
    back = read_log(path).pctr
    assert back is not None
    np.testing.assert_array_equal(back, log.pctr)


def test_logs_that_would_not_read_back_are_not_written(tmp_path: Path) -> None:
    log = full_log(2)
    bare = ImpressionLog(click=log.click, market_price_micros=log.market_price_micros)
    with pytest.raises(ValueError, match="no pctr"):
        write_log(bare, tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        write_log(log, tmp_path / "a.txt")
    tagged = ImpressionLog(
        click=log.click,
        market_price_micros=log.market_price_micros,
        pctr=log.pctr,
        features=pl.DataFrame({"tags": ["1,2", "3"]}),
    )
    with pytest.raises(ValueError, match=r"tags; write \.parquet"):
        write_log(tagged, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
    write_log(tagged, tmp_path / "a.parquet")
    assert read_log(tmp_path / "a.parquet").equals(tagged)


# Refusing

BAD_ROWS = [
    ("0,60,1.7", "pctr is '1.7', allowed is a number from 0 to 1"),
    ("0,60,-0.1", "pctr is '-0.1'"),
    ("0,60,nan", "pctr is 'nan'"),
    ("0,60,inf", "pctr is 'inf'"),
    ("0,60,", "pctr is ''"),
    ("0,60,high", "pctr is 'high'"),
    ("2,60,0.1", "click is '2', allowed is 0 or 1"),
    ("-1,60,0.1", "click is '-1'"),
    ("0.5,60,0.1", "click is '0.5'"),
    ("true,60,0.1", "click is 'true'"),
    ("0,-1,0.1", "market_price_micros is '-1', allowed is a whole number from 0 to 1000000000000000"),
    ("0,6.5,0.1", "market_price_micros is '6.5'"),
    ("0,nan,0.1", "market_price_micros is 'nan'"),
    ("0,9223372036854775808,0.1", "market_price_micros is '9223372036854775808'"),
    ("0,1000000000000001,0.1", "market_price_micros is '1000000000000001'"),
    ("0,60", "it has 2 fields, allowed are 3: click, market_price_micros, pctr"),
    ("0,60,0.1,4", "it has 4 fields, allowed are 3"),
    ("", "it has 1 fields, allowed are 3"),
]


@pytest.mark.parametrize(("row", "complaint"), BAD_ROWS)
def test_a_malformed_row_is_named_by_file_line_field_and_value(tmp_path: Path, row: str, complaint: str) -> None:
    path = put(tmp_path, HEADER + "0,60,0.1\n" * 15 + row + "\n0,60,0.1\n")
    with pytest.raises(ValueError, match="on_bad_row") as caught:
        read_log(path)
    assert str(caught.value).startswith(f"{path} line 17: {complaint}")
    assert str(caught.value).endswith('; pass on_bad_row="skip" to leave such rows out')


@pytest.mark.parametrize(("row", "complaint"), BAD_ROWS)
def test_malformed_rows_can_be_left_out_and_are_reported(tmp_path: Path, row: str, complaint: str) -> None:
    path = put(tmp_path, HEADER + "0,60,0.1\n" + row + "\n1,61,0.2\n")
    log = read_log(path, on_bad_row="skip")
    assert log.market_price_micros.tolist() == [60, 61]
    assert log.skipped.count == 1
    assert log.skipped.reasons[0].startswith(f"{path} line 3: {complaint}")


def test_the_report_counts_all_bad_rows_and_explains_the_first_in_order(tmp_path: Path) -> None:
    rows = ["0,60,2", "5,60,0.1", "0,x,0.1", "0,60,0.1", "0,60"] + ["0,60,3"] * 10
    log = read_log(put(tmp_path, HEADER + "\n".join(rows)), on_bad_row="skip")
    assert len(log) == 1
    assert log.skipped.count == 14
    found = [reason.split(" line ")[1].split(" is ")[0] for reason in log.skipped.reasons]
    assert found[:3] == ["2: pctr", "3: click", "4: market_price_micros"]
    assert [reason.split(":")[0].split()[-1] for reason in log.skipped.reasons] == ["2", "3", "4", "6", "7"]


def test_theta_and_ipinyou_rows_are_refused_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"theta\.txt line 2: pctr is '1\.7', allowed is a number from 0 to 1; pass"):
        read_log(put(tmp_path, "0 70 0.002\n0 70 1.7\n", "theta.txt"))
    with pytest.raises(ValueError, match=r"line 1: price is '7\.5'"):
        read_log(put(tmp_path, "0 7.5 0.002\n"))
    bad_time = GOOD_ROW.replace("20131021135101295", "20131321135101295")
    with pytest.raises(ValueError, match=r"line 2: timestamp is '20131321135101295', allowed is a time yyyyMMdd"):
        read_log(put(tmp_path, GOOD_ROW + "\n" + bad_time))
    with pytest.raises(
        ValueError, match=r"line 2: it has 26 fields, allowed are 27: click, weekday, hour, bid_id, \.\.\."
    ):
        read_log(put(tmp_path, GOOD_ROW + "\n" + GOOD_ROW.rsplit("\t", 1)[0]))
    with pytest.raises(ValueError, match="line 2: paying_price is 'null'"):
        read_log(put(tmp_path, GOOD_ROW + "\n" + GOOD_ROW.replace("\t205\t", "\tnull\t")))


@pytest.mark.parametrize("content", ["", "\n", " \n\n", HEADER, HEADER + "\n\n"])
def test_an_empty_log_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"log\.txt is empty"):
        read_log(put(tmp_path, content))


def test_a_log_without_one_usable_row_is_refused_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no usable row; the first: .* line 2: pctr is '7'"):
        read_log(put(tmp_path, HEADER + "0,60,7\n"), on_bad_row="skip")


def test_missing_and_doubled_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks the columns market_price_micros, pctr; it has 'click', 'price'"):
        read_log(put(tmp_path, "click,price\n0,1\n"))
    with pytest.raises(ValueError, match="names a column twice"):
        read_log(put(tmp_path, "click,click,market_price_micros,pctr\n0,0,1,0.1\n"))


@pytest.mark.parametrize(
    "junk",
    [
        bytes(range(256)) * 20,
        b"\x00" * 1000,
        b"\x1f\x8b\x08" + b"\xff" * 100,
        b"PAR1" + b"\x00" * 100,
        b"PAR1",
        b"PK\x03\x04\x00",
        b"click,market_price_micros,pctr\n0,1,\x00\n",
    ],
)
def test_binary_junk_is_one_clear_error(tmp_path: Path, junk: bytes) -> None:
    with pytest.raises(ValueError, match=r"log\.txt (is no text|is no readable Parquet file|lacks the columns)"):
        read_log(put(tmp_path, junk))


def test_a_truncated_parquet_file_is_one_clear_error(tmp_path: Path) -> None:
    write_log(full_log(1000), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    for length in (5, len(data) // 2, len(data) - 3):
        with pytest.raises(ValueError, match="no readable Parquet file"):
            read_log(put(tmp_path, data[:length]))


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("click", 0.5, "row 2: click is '0.5'"),
        ("click", None, "row 2: click is 'None'"),
        ("pctr", float("nan"), "row 2: pctr is 'nan'"),
        ("market_price_micros", 1.5, "row 2: market_price_micros is '1.5'"),
        ("market_price_micros", -5, "row 2: market_price_micros is '-5'"),
        ("market_price_micros", float("inf"), "row 2: market_price_micros is 'inf'"),
        ("market_price_micros", 2**64 - 1, "row 2: market_price_micros is '18446744073709551615'"),
    ],
)
def test_parquet_rows_are_refused_like_text(tmp_path: Path, column: str, value: object, complaint: str) -> None:
    columns: dict[str, list[object]] = {"click": [0, 1], "market_price_micros": [5, 6], "pctr": [0.1, 0.2]}
    columns[column][1] = value
    kind = pl.UInt64 if value == 2**64 - 1 else None
    frame = pl.DataFrame([pl.Series(name, v, strict=False, dtype=kind if name == column else None) for name, v in columns.items()])  # fmt: skip  # noqa: E501
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet") as caught:
        read_log(tmp_path / "a.parquet")
    assert complaint in str(caught.value)
    assert read_log(tmp_path / "a.parquet", on_bad_row="skip").skipped.count == 1


def test_parquet_types_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    frame = full_log(3).to_frame().with_columns(pl.from_epoch("timestamp_ms", time_unit="ms"))
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="timestamp_ms has the type Datetime"):
        read_log(tmp_path / "a.parquet")


def test_arguments_are_checked_and_the_choices_named(tmp_path: Path) -> None:
    path = put(tmp_path, HEADER + "0,1,0.1\n")
    with pytest.raises(ValueError, match="no log format named 'xml'; choose auto, csv, parquet, theta or ipinyou"):
        read_log(path, format="xml")
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        read_log(path, on_bad_row="drop")
    with pytest.raises(ValueError, match="leave price_unit_micros out"):
        read_log(path, price_unit_micros=10)
    with pytest.raises(ValueError, match="from 1"):
        read_log(path, price_unit_micros=0)
    with pytest.raises(FileNotFoundError):
        read_log(tmp_path / "absent")


@given(st.binary(max_size=200), st.sampled_from(["csv", "theta", "ipinyou", "parquet", "auto"]))
def test_no_content_raises_anything_but_valueerror(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, format: str
) -> None:
    path = put(tmp_path_factory.mktemp("junk"), content)
    with suppress(ValueError):
        read_log(path, format=format)


# The log in memory


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"click": [0, 2]}, "click must be 0 or 1"),
        ({"click": [0, np.nan]}, "click must be 0 or 1"),
        ({"click": []}, "at least one"),
        ({"click": ["0", "1"]}, "allowed are 2 numbers"),
        ({"market_price_micros": [1]}, "allowed are 2 numbers"),
        ({"market_price_micros": [1, 1.5]}, "whole number"),
        ({"pctr": [0.1, np.nan]}, "pctr must be numbers from 0 to 1"),
        ({"timestamp_ms": [5, 4]}, "time order"),
        ({"features": pl.DataFrame({"a": [1]})}, "1 rows"),
        ({"features": pl.DataFrame({"click": [1, 1]})}, "may not be named"),
    ],
)
def test_a_log_cannot_hold_what_the_schema_forbids(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"click": [0, 1], "market_price_micros": [1, 2], "pctr": [0.1, 0.2]}
    with pytest.raises(ValueError, match=message):
        ImpressionLog(**(fields | change))  # type: ignore[arg-type]


def test_a_log_cannot_be_written_to_by_accident() -> None:
    clicks = np.array([0, 1], dtype=np.int8)
    log = ImpressionLog(click=clicks, market_price_micros=np.array([1, 2]))
    with pytest.raises(ValueError, match="read-only"):
        log.click[0] = 1
    clicks[0] = 1  # the caller's own array stays its own
    assert log.click.tolist() == [0, 1]


def test_reading_logs_needs_no_training_library() -> None:
    code = (
        "import sys, tribid.envs.logs; "
        "print([m for m in ('torch', 'sklearn', 'stable_baselines3') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# Campaign statistics

INFO = {
    "imp_train": 4, "clk_train": 1, "cost_train": 5, "price_counter_train": [1, 1, 2],
    "imp_test": 2, "clk_test": 0, "cost_test": 3, "dim": 10, "field": 2,
}  # fmt: skip


def test_info_is_read_into_micros_and_a_win_rate(tmp_path: Path) -> None:
    stats = ipinyou.read_info(put(tmp_path, json.dumps(INFO)))
    assert (stats.cost_train_micros, stats.cost_test_micros) == (50, 30)
    assert stats.ctr == 0.25
    assert stats.mean_price_micros == 12.5
    assert stats.win_rate(np.array([-1, 0, 9, 10, 19, 20, 10**12])).tolist() == [0, 0.25, 0.25, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clk_train": 9}, "at least clk_train"),
        ({"imp_train": -4}, "imp_train holds -4"),
        ({"cost_train": 5.0}, "cost_train holds 5.0"),
        ({"cost_train": 6}, "does not add up"),
        ({"price_counter_train": [1, 1, True]}, "price_counter_train holds True"),
        ({"price_counter_train": 3}, "list of counts"),
    ],
)
def test_info_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ipinyou.read_info(put(tmp_path, json.dumps(INFO | change)))


def test_info_that_is_incomplete_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks dim, field;"):
        ipinyou.read_info(put(tmp_path, json.dumps({k: v for k, v in INFO.items() if k not in ("dim", "field")})))
    for junk in ("[1]", "{", b"\xff\xfe"):
        with pytest.raises(ValueError, match=r"log\.txt (lacks|is no JSON)"):
            ipinyou.read_info(put(tmp_path, junk))


# The real files


def test_the_real_theta_log_is_read_whole_and_fast(shared_data: Path) -> None:
    path = shared_data / "ipinyou" / "2997.test.theta.txt"
    stats = ipinyou.read_info(shared_data / "ipinyou" / "2997.info.json")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        log = read_log(path)
        times.append(time.perf_counter() - start)
    assert len(log) == stats.impressions_test == 156_063
    assert log.click.sum() == stats.clicks_test == 530
    assert log.market_price_micros.sum() == stats.cost_test_micros == 86_171_480
    assert min(times) < 0.5


def test_the_real_full_logs_are_read_whole_and_in_time_order(shared_data: Path) -> None:
    for name, rows, clicks in (("train", 8355, 5), ("test", 4171, 0)):
        log = read_log(shared_data / "ipinyou" / f"2259.{name}.log.txt")
        assert (len(log), log.click.sum(), log.pctr) == (rows, clicks, None)
        assert log.timestamp_ms is not None
        assert (np.diff(log.timestamp_ms) >= 0).all()
        assert log.features is not None
        assert log.features.height == rows


def test_the_hours_of_the_real_logs_confirm_the_clock(shared_data: Path) -> None:
    log = read_log(shared_data / "ipinyou" / "2259.train.log.txt")
    assert log.timestamp_ms is not None
    assert log.features is not None
    china = (log.timestamp_ms // 3_600_000 + 8) % 24
    np.testing.assert_array_equal(china, log.features["hour"].cast(pl.Int64).to_numpy())
