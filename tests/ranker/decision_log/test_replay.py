"""Any logged decision, made again, gives the same bytes; what was changed, damaged or foreign is found."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ranker.decision_log.pages import SALT, random_pages, same
from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log import DecisionLog, Logged, LogReader, replay
from tribid.ranker.decision_log.files import find_scenario, write_file
from tribid.ranker.decision_log.replay import rulebook
from tribid.ranker.decision_log.rows import to_batch

TINY = load_scenario("tiny")
BUSY = TINY.with_changes(generated__count=12)


def write(folder: Path, pages: list[Decided], scenario: Scenario = TINY) -> Path:
    with DecisionLog(folder, scenario=scenario, salt=SALT) as log:
        for page in pages:
            log.append(page)
    assert log.state().error == ""
    (file,) = folder.glob("*.parquet")
    return file


def kinds() -> list[Any]:
    """Every auction x OCPC strategy x index x squash x charge that a scenario may have."""
    found, auctions = [], ("gsp", "vcg", "first_price")
    for auction, charge, squash in itertools.product(auctions, ("click", "impression"), (0.0, 0.7, 1.0)):
        for strategy in ("off", "simple", "greedy", "conversion_rank"):
            if charge == "impression" and strategy != "off":
                continue
            for index in ("f1", "f2", "sigma", "dynamic") if strategy in ("simple", "greedy") else ("f2",):
                changes = {
                    "rules__auction": auction, "rules__charge": charge, "rules__squash": squash,
                    "rules__ocpc__strategy": strategy, "rules__ocpc__index": index, "rules__segments": "cluster",
                }  # fmt: skip
                found.append(pytest.param(changes, id=f"{auction}-{charge}-{squash:g}-{strategy}-{index}"))
    return found


@pytest.mark.parametrize("changes", kinds())
def test_every_kind_of_decision_is_made_again_to_the_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    scenario = TINY.with_changes(generated__count=12, **changes)
    book = rulebook(scenario)
    pages = [*random_pages(scenario, 20, book=book), *random_pages(scenario, 20, candidates=7, seed=1, book=book)]
    write(tmp_path, pages, scenario)
    result = replay(tmp_path)
    assert result.decisions == 40 and result.different == 0 and result.differences == ()
    # The scores of all candidates, worked out beside the auction, are the auction's own.
    sold = 0
    for logged in LogReader(tmp_path):
        decided = logged.decided
        for winner, score in zip(decided.winner, decided.score, strict=True):
            if winner >= 0:
                (place,) = np.flatnonzero(decided.ads == winner)
                assert logged.candidate_score[place].tobytes() == score.tobytes()
                sold += 1
        left_out = ~np.isin(decided.ads, [*decided.winner, decided.runner_up])
        assert (logged.candidate_score[left_out] <= max(decided.runner_up_score, 0)).all()
    assert sold > 10


def test_pages_of_one_and_of_two_thousand_candidates_are_made_again(tmp_path: Path) -> None:
    scenario = TINY.with_changes(generated__count=2_000)
    book = rulebook(scenario)
    write(
        tmp_path, [page for n in (1, 2, 2_000) for page in random_pages(scenario, 4, candidates=n, book=book)], scenario
    )
    result = replay(tmp_path)
    assert result.decisions == 12 and result.different == 0


def test_pages_that_nobody_won_are_made_again(tmp_path: Path) -> None:
    pages = [page for page in random_pages(TINY, 400) if page.winner[0] < 0]
    write(tmp_path, pages)
    assert replay(tmp_path).decisions == len(pages) > 0 and replay(tmp_path).different == 0


def test_dynamic_ranking_without_a_belief_is_made_again(tmp_path: Path) -> None:
    scenario = TINY.with_changes(rules__ocpc__index="dynamic")
    blind = TINY.with_changes(rules__ocpc__index="f2")  # what dynamic ranking is without beliefs
    pages = [page._replace(scenario=scenario.hash) for page in random_pages(blind, 50)]
    write(tmp_path, pages, scenario)
    assert all(logged.decided.buying != logged.decided.buying for logged in LogReader(tmp_path))
    assert replay(tmp_path).different == 0


CHANGES: dict[str, Callable[[Decided], Decided]] = {
    "bid_micros": lambda d: d._replace(bid_micros=d.bid_micros ^ np.int64(1)),
    "winner": lambda d: d._replace(winner=np.roll(d.winner, 1)),
    "price_micros": lambda d: d._replace(price_micros=d.price_micros + 1),
    "score": lambda d: d._replace(score=np.nextafter(d.score, np.inf)),
    "runner_up": lambda d: d._replace(runner_up=d.runner_up + 1),
    "runner_up_score": lambda d: d._replace(runner_up_score=float(np.nextafter(d.runner_up_score, np.inf))),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_result_is_found_and_named(field: str, tmp_path: Path) -> None:
    pages = [page for page in random_pages(BUSY, 40) if page.runner_up >= 0]
    write(tmp_path, [*pages[:4], CHANGES[field](pages[4]), *pages[5:]], BUSY)
    result = replay(tmp_path)
    assert result.decisions == len(pages) and result.different == 1
    first = next(difference for difference in result.differences if difference.field == field)
    assert first.id == pages[4].id and first.where.endswith("row 4") and first.release == pages[4].release
    assert first.logged != first.again
    assert (first.place == -1) == field.startswith("runner_up")


@pytest.mark.parametrize("field", ["pctr", "multiplier", "left_micros", "request", "seed", "reserve_micros", "buying"])
def test_a_changed_input_is_found(field: str, tmp_path: Path) -> None:
    is_draw = field in ("request", "seed")  # draws break ties, and OCPC leaves none
    changes = {"rules__ocpc__strategy": "off"} if is_draw else {"rules__ocpc__index": "dynamic"}
    scenario = TINY.with_changes(generated__count=24, **changes)
    changed = []
    for page in random_pages(scenario, 200):
        old = getattr(page, field)
        if field == "pctr":
            new = np.where(old == np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1)), old)
        elif field == "left_micros":
            new = old // 2
        elif field == "multiplier":
            new = old * 0.9
        elif field == "buying":
            new = 0.0
        else:
            new = old + 50_000
        changed.append(page._replace(**{field: new}, id=f"2.{page.request + 50_000 * (field == 'request')}"))
    write(tmp_path, changed, scenario)
    result = replay(tmp_path)
    assert result.different > 5 and len(result.differences) == 10


def test_the_first_differences_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [page._replace(runner_up_score=-7.0) for page in random_pages(TINY, 30)])
    result = replay(tmp_path, show=3)
    assert result.different == 30 and [d.where[-5:] for d in result.differences] == ["row 0", "row 1", "row 2"]
    assert result.by_release == {"pid@0": (15, 15), "pid@1": (15, 15)}


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    write(tmp_path, random_pages(TINY, 30))
    told: list[tuple[int, int]] = []
    replay(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 30) for i in range(1, 31)]


def test_another_scenario_is_refused_by_its_hash(tmp_path: Path) -> None:
    write(tmp_path, random_pages(TINY, 3))
    other = TINY.with_changes(rules__squash=0.5)
    with pytest.raises(ValueError, match=f"was decided in scenario {TINY.hash}; allowed is {other.hash}, as given"):
        replay(tmp_path, other)
    assert replay(tmp_path, "tiny").different == 0


def test_the_scenario_is_found_beside_the_log_or_in_the_package(tmp_path: Path) -> None:
    scenario = TINY.with_changes(rules__squash=0.5)
    write(tmp_path, random_pages(scenario, 3), scenario)
    beside = tmp_path / f"scenario-{scenario.hash}.json"
    assert find_scenario(tmp_path, scenario.hash) == scenario
    assert find_scenario(tmp_path, TINY.hash) == TINY
    beside.write_text(beside.read_text().replace('"squash": 0.5', '"squash": 0.6'))
    with pytest.raises(ValueError, match=f"allowed is {scenario.hash}: it was changed"):
        replay(tmp_path)
    beside.unlink()
    with pytest.raises(ValueError, match=f"no scenario of the package is {scenario.hash}; name it"):
        replay(tmp_path)
    assert replay(tmp_path, scenario).different == 0


def test_a_folder_may_hold_decisions_of_two_scenarios(tmp_path: Path) -> None:
    other = TINY.with_changes(rules__auction="vcg")
    for scenario in (TINY, other):
        with DecisionLog(tmp_path, scenario=scenario, salt=SALT) as log:
            for page in random_pages(scenario, 5):
                log.append(page)
    assert replay(tmp_path).decisions == 10 and replay(tmp_path).different == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: {"pctr": np.full_like(d.pctr, np.nan)}, "pctr 0 is nan; allowed is 0 to 1"),
        (lambda d: {"pcvr": np.full_like(d.pcvr, 1.5)}, "pcvr 0 is 1.5; allowed is 0 to 1"),
        (lambda d: {"multiplier": np.full_like(d.multiplier, np.inf)}, "multiplier 0 is inf; allowed is 0 to 8"),
        (lambda d: {"buying": -0.5}, "buying 0 is -0.5; allowed is 0 to 1"),
        (lambda d: {"reserve_micros": -1}, "reserve_micros is -1; allowed is 0 to"),
        (lambda d: {"ads": np.full_like(d.ads, 99)}, "ads hold 99 to 99; allowed is 0 to 4"),
        (lambda d: {"ads": np.zeros_like(d.ads)}, "ads hold an advertiser twice; allowed is each once"),
        (
            lambda d: {k: getattr(d, k)[:1] for k in ("winner", "price_micros", "score")},
            "winner has 1 slots; allowed is 2",
        ),
    ],
)
def test_inputs_that_nothing_can_be_decided_from_are_refused_by_row(
    change: Callable[[Decided], dict[str, Any]], told: str, tmp_path: Path
) -> None:
    pages = random_pages(TINY, 3)
    write(tmp_path, [*pages[:2], pages[2]._replace(**change(pages[2]))])
    with pytest.raises(ValueError, match=told) as error:
        replay(tmp_path)
    assert "row 2" in str(error.value)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "log", random_pages(TINY, 20))
    whole, damaged, kept = file.read_bytes(), tmp_path / "damaged.parquet", list(LogReader(file))
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(whole), 400, replace=False).tolist():
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(content)
        rows, why = _read(damaged)
        if why:
            assert "damaged.parquet" in why
            refused += 1
            continue
        assert len(rows) == 20
        for a, b in zip(kept, rows, strict=True):
            assert same(a.decided, b.decided) and (a.user, a.tribid) == (b.user, b.tribid)
            assert a.candidate_score.tobytes() == b.candidate_score.tobytes()
    assert refused > 200


def _read(file: Path) -> tuple[list[Logged], str]:
    try:
        return list(LogReader(file)), ""
    except ValueError as error:
        return [], str(error)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    file = write(tmp_path, random_pages(TINY, 20))
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"decisions-.* is no decision log that can be read"):
        replay(tmp_path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_text("id,day\n1,2\n")
    with pytest.raises(ValueError, match=r"a\.parquet is no decision log that can be read"):
        replay(file)
    with pytest.raises(ValueError, match="has no decisions"):
        replay(tmp_path / "nothing")


def test_a_foreign_parquet_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, random_pages(TINY, 5))
    table = pq.read_table(file)
    pq.write_table(pa.table({"x": [1]}), file)
    with pytest.raises(ValueError, match="is no decision log of format 1 or 2: its format is 'none'"):
        replay(file)
    metadata = table.schema.metadata
    for wrong, told in (
        (table.append_column("email", pa.array(["a@b.c"] * 5)), "column 'email' is .*; allowed is none such"),
        (table.drop_columns(["pctr"]), "column 'pctr' is absent; allowed is"),
        (table.set_column(1, "time_ms", table["time_ms"].cast(pa.float64())), "column 'time_ms' is .*double"),
        (table.select(table.column_names[::-1]), "its columns are in another order"),
    ):
        pq.write_table(wrong.replace_schema_metadata(metadata), file)
        with pytest.raises(ValueError, match=told):
            replay(file)
    for changed, told in (
        ({b"tribid.decision_log": b"3"}, "its format is '3'"),
        ({b"tribid.decision_log": b"1"}, "column 'scene' is string; allowed is none such"),
        ({b"tribid.lost": b"many"}, "tribid.lost is b'many'; allowed is a whole number"),
    ):
        pq.write_table(table.replace_schema_metadata({**metadata, **changed}), file)
        with pytest.raises(ValueError, match=told):
            replay(file)


def test_a_log_from_before_there_were_scenes_is_made_again_beside_newer_files(tmp_path: Path) -> None:
    file = write(tmp_path, random_pages(BUSY, 12), BUSY)
    table = pq.read_table(file)
    older = table.drop_columns(["scene"])
    pq.write_table(older.replace_schema_metadata({**table.schema.metadata, b"tribid.decision_log": b"1"}), file)
    kept = list(LogReader(file))
    assert [row.decided.scene for row in kept] == [None] * 12
    assert all(same(row.decided, page) for row, page in zip(kept, random_pages(BUSY, 12), strict=True))
    with DecisionLog(tmp_path, scenario=BUSY, salt=SALT) as log:
        for page in random_pages(BUSY, 5, seed=3):
            log.append(page)
    result = replay(tmp_path)
    assert (result.decisions, result.different) == (17, 0)
    pq.write_table(table.drop_columns(["scene"]), file)
    with pytest.raises(ValueError, match="column 'scene' is absent; allowed is string"):
        replay(tmp_path)


def test_a_page_with_more_of_one_list_than_of_another_is_refused(tmp_path: Path) -> None:
    pages = random_pages(TINY, 3)
    batch = to_batch(pages, TINY.rules, SALT)
    short = batch.set_column(
        batch.schema.get_field_index("pctr"),
        batch.schema.field("pctr"),
        pa.array(
            [page.pctr[: -1 if i == 1 else None] for i, page in enumerate(pages)], batch.schema.field("pctr").type
        ),
    )
    write_file(tmp_path / "short.parquet", [short], "run", 0)
    with pytest.raises(ValueError, match=r"short\.parquet: pctr has not as many values in each row as ads"):
        list(LogReader(tmp_path))
