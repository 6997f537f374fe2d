"""The journey's table: jobs that are resumed, differences that are paired, and a page that says what intervals say."""

import inspect
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tribid.envs.scenario import load_scenario
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.journey import jobs
from tribid.evaluation.journey.jobs import Job, JourneyPlan, days_of, is_done, jobs_of, record_of, run_jobs, variants_of
from tribid.evaluation.journey.measures import MEASURES, NAMES, PLACE, row_of
from tribid.evaluation.journey.page import markdown_table, page_text, write_page
from tribid.evaluation.journey.plot import forest_svg
from tribid.evaluation.journey.table import (
    SIDES,
    Difference,
    block_text,
    cell_text,
    compared,
    differences,
    reading,
    said,
    side_text,
)
from tribid.evaluation.journey.variants import ROWS, VARIANTS, Row, variant
from tribid.evaluation.journey.worlds import WORLD_ROWS, WORLDS
from tribid.evaluation.platform.worth import Days
from tribid.evaluation.statistics import Interval

BASES = ("plain after", "as many untriggered", "last-touch credit")
CHOSEN = tuple(row for row in ROWS if row.base in BASES)


@pytest.fixture(scope="module")
def plan(scenario):
    return JourneyPlan(scenario=scenario, days=1, seeds=3, worlds=("journey",), rows=CHOSEN)


@pytest.fixture(scope="module")
def done(plan, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("journey")
    run_jobs(plan, out)
    return out


def days(name, values):
    return Days(name=name, table=np.array([row_of(RPM=value, unsubscribed=10 * value) for value in values]))


def test_every_variant_of_the_rows_exists_and_matched_ones_come_after_what_they_match(scenario):
    every = JourneyPlan(scenario=scenario)
    assert {one.name for one in variants_of(every)} == {one.name for one in VARIANTS}
    order = [one.name for one in variants_of(every)]
    assert all(order.index(one.like) < order.index(one.name) for one in VARIANTS if one.like)
    assert {row.world for row in WORLD_ROWS} == set(WORLDS)


def test_a_part_against_itself_differs_by_exactly_zero_and_is_called_unchanged(plan, done):
    own = days_of(plan, ROWS[0], "shipped", done)
    told = compared(own, own)
    assert len(told) > 8
    for name, cell in told.items():
        assert (cell.point, cell.low, cell.high) == (0.0, 0.0, 0.0)
        assert said(MEASURES[PLACE[name]], cell, 20) == "unchanged"
        assert cell_text(MEASURES[PLACE[name]], cell) == "0"


def test_differences_are_paired_by_seed_in_percent_or_as_they_are():
    told = compared(days("with", [11.0, 21.0, 31.0]), days("without", [10.0, 20.0, 30.0]))
    assert told["RPM"].point == told["RPM"].low == told["RPM"].high == pytest.approx(5.0)
    assert told["unsubscribed"].point == pytest.approx(10.0)
    assert set(told) == {"RPM", "unsubscribed"}
    assert "RPM" not in compared(days("with", [1.0, 2.0]), days("without", [-1.0, 0.0]))


def test_gain_and_loss_follow_from_the_measure_and_are_never_named_on_few_seeds():
    rpm, left, count = (MEASURES[PLACE[name]] for name in ("RPM", "leaving", "messages"))
    up, down, unclear = Interval(2.0, 1.0, 3.0), Interval(-2.0, -3.0, -1.0), Interval(0.5, -1.0, 2.0)
    assert [said(rpm, cell, 10) for cell in (up, down, unclear)] == ["gain", "loss", "not told apart"]
    assert [said(left, cell, 10) for cell in (up, down)] == ["loss", "gain"]
    assert [said(count, cell, 10) for cell in (up, down)] == ["more", "less"]
    assert said(rpm, up, 9) == "not told apart"


def test_reading_names_each_side_with_what_its_interval_says():
    row = Row("caps", "none", "shipped", "no cap")
    cells = {"RPM": Interval(-1.5, -2.0, -1.0), "CTR": Interval(0.1, -0.2, 0.4), "leaving": Interval(-1.0, -1.5, -0.5)}
    told = reading(Difference(row, cells), 10)
    assert told == (
        "**caps** against none. platform: loss in RPM -1.50 %. user: gain in leaving -1.00 %; not told apart: CTR."
    )
    assert side_text(Difference(row, cells), "user", 10).splitlines() == [
        "CTR +0.10 ± 0.30 %", "leaving -1.00 ± 0.50 % *"
    ]  # fmt: skip


def test_a_stopped_run_goes_on_and_gives_the_same_table(plan, done, tmp_path, monkeypatch):
    played = []

    def until_stopped(plan, job, out):
        if len(played) == 4:
            raise KeyboardInterrupt
        played.append(job)
        return own(plan, job, out)

    own = jobs.do_job
    monkeypatch.setattr(jobs, "do_job", until_stopped)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(plan, tmp_path)
    monkeypatch.setattr(jobs, "do_job", own)
    kept = {job.file(tmp_path): job.file(tmp_path).read_bytes() for job in played}
    with pytest.raises(ValueError, match="run the comparison again"):
        differences(plan, tmp_path)
    told = []
    run_jobs(plan, tmp_path, lambda done, total, what: told.append((done, total)))
    assert all(file.read_bytes() == text for file, text in kept.items())
    assert told[-1] == (len(jobs_of(plan)), len(jobs_of(plan)))
    assert markdown_table(differences(plan, tmp_path), 3) == markdown_table(differences(plan, done), 3)


def test_more_seeds_play_only_what_is_missing_and_another_plan_plays_anew(plan, done):
    more = replace(plan, seeds=4)
    missing = [job.seed for job in jobs_of(more) if not is_done(more, job, done)]
    assert set(missing) == {HELD_OUT + 3}
    other = replace(plan, days=2)
    assert not any(is_done(other, job, done) for job in jobs_of(other))


def test_messages_to_anybody_are_as_many_as_the_record_of_the_triggered_says(plan, done):
    for seed in range(3):
        sent, anybody = (
            np.array(record_of(plan, Job("journey", name, HELD_OUT + seed), done)["sent"])
            for name in ("triggered", "as many untriggered")
        )
        assert sent.sum() > 0
        assert (anybody <= sent).all()
        assert anybody.sum() >= 0.8 * sent.sum()


def test_pages_after_an_order_have_a_row_of_their_own(plan, done):
    whole, after = (next(one for one in differences(plan, done) if one.row.pages == pages) for pages in ("", "after"))
    assert "relevance" in whole.cells
    assert "relevance" not in after.cells
    assert whole.cells["CTR"] != after.cells["CTR"]


def test_the_page_and_its_picture_are_written_with_command_machine_and_table(plan, done, tmp_path):
    page = tmp_path / "docs" / "journey-results.md"
    written = write_page(plan, done, page, "tribid bench-journey --seeds 3", "2-core AMD EPYC")
    assert written == [page, page.with_suffix(".svg")]
    text = page.read_text(encoding="utf-8")
    assert "command: `tribid bench-journey --seeds 3`" in text
    assert "machine: 2-core AMD EPYC" in text
    assert "3 seeds are too few; 10 are the least" in text
    assert "![Differences of all parts, with intervals](journey-results.svg)" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(CHOSEN)
    assert all(line.count("|") == len(NAMES) + 4 for line in lines)
    assert "gain in" not in text
    assert page.with_suffix(".svg").read_text(encoding="utf-8").startswith("<?xml")
    assert str(tmp_path) not in text


def test_a_page_of_enough_seeds_marks_what_is_told_apart(plan):
    row = Row("part", "base", "shipped", "no cap", world="search")
    told = Difference(row, {"RPM": Interval(150.0, 149.0, 151.0), "CTR": Interval(0.0, 0.0, 0.0)})
    origin = write_page.__globals__["Origin"]("command", "machine", "day", "commit", 60.0)
    text = page_text(replace(plan, seeds=10), [told], origin, "p.svg")
    assert "| part | base | search | **+150 ± 1** | – |" in text
    assert "platform: gain in RPM +150.00 %. user: unchanged: CTR. World: search." in text
    picture = forest_svg([told], 10)
    assert "#009e73" in picture
    assert picture == forest_svg([told], 10)


def test_records_of_a_job_are_plain_json_with_a_number_for_each_measure(plan, done):
    record = json.loads(Job("journey", "linear credit", HELD_OUT).file(done).read_bytes())
    assert len(record["numbers"]["linear credit"][""]) == len(NAMES)
    assert record["numbers"]["linear credit"][""][PLACE["RPM"]] is None
    assert variant("linear credit").credit == "linear"


def test_bad_plans_are_refused_with_what_is_allowed(scenario):
    with pytest.raises(ValueError, match="allowed is a journey"):
        JourneyPlan(scenario=load_scenario("tiny"))
    with pytest.raises(ValueError, match="allowed are 1 or more, and 2 or more"):
        JourneyPlan(scenario=scenario, seeds=1)
    with pytest.raises(ValueError, match="no world named 'mars'; choose of journey, search"):
        JourneyPlan(scenario=scenario, worlds=("mars",))


def test_the_command_teaches_and_plays(scenario, tmp_path):
    import typer

    from tribid.cli.journey import bench_journey

    app = typer.Typer()
    app.command()(bench_journey)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    assert "Example" in shown.output
    world = tmp_path / "small.yaml"
    world.write_text(json.dumps(scenario.model_dump(mode="json")), encoding="utf-8")
    bad = CliRunner().invoke(app, ["--scenario", str(world), "--seeds", "1"])
    assert bad.exit_code == 2


def test_a_row_is_a_block_of_lines_that_fit_and_cut_nothing():
    row = Row(
        "complementary candidates after an order, on pages of every scene", "the plain feed's", "shipped", "no cap"
    )
    cells = {one.name: Interval(-1.5, -2.0, -1.0) for one in MEASURES} | {"RPM": Interval(0.0, 0.0, 0.0)}
    told = Difference(row, cells)
    for width in (44, 80, 100):
        text = block_text(told, 10, width)
        lines = text.splitlines()
        assert all(len(line) <= width for line in lines)
        assert " ".join(text.split()).startswith(f"{row.part}, against: the plain feed's (world: journey) platform GPM")
        for side in SIDES:
            assert all(cell in text for cell in side_text(told, side, 10).splitlines())
    assert "  platform    GPM -1.50 ± 0.50 % *" in lines
    assert "RPM" not in text


@pytest.mark.parametrize(("columns", "is_table"), [("80", False), ("160", True)])
def test_a_narrow_terminal_shows_every_name_whole_and_where_the_page_is(
    scenario, plan, done, tmp_path, monkeypatch, columns, is_table
):
    import typer
    from rich.console import Console

    from tribid.cli import journey as command

    shown = Console(width=int(columns), file=io.StringIO())
    monkeypatch.setattr(command, "console", shown)
    monkeypatch.setattr("tribid.evaluation.journey.jobs.run_jobs", lambda plan, out, tell: None)
    monkeypatch.setattr("tribid.evaluation.journey.table.differences", lambda *_: differences(plan, done))
    monkeypatch.setattr("tribid.evaluation.journey.page.write_page", lambda *_: [tmp_path / "page.md"])
    app = typer.Typer()
    app.command()(command.bench_journey)
    assert CliRunner().invoke(app, ["--seeds", "3", "--days", "1", "--worlds", "journey"]).exit_code == 0
    text = shown.file.getvalue()
    assert "…" not in text and "page.md" in text and "all numbers are on the page" in text
    assert ("┏" in text) is is_table
    assert all(one.row.part in text for one in differences(plan, done)) or is_table


def test_the_works_folder_is_not_that_of_the_readmes_evaluation():
    from tribid.cli.journey import bench_journey

    told = inspect.signature(bench_journey).parameters["out"].default
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
    assert str(told) == "runs/bench-journey" and f"--out {told}" not in readme


@pytest.mark.parametrize("name", ["search", "sequential", "actions"])
def test_other_worlds_have_the_numbers_of_their_rows(name):
    told = WORLDS[name](0)
    rows = [row for row in WORLD_ROWS if row.world == name]
    assert {row.switched for row in rows} | {row.base for row in rows} <= set(told)
    for row in rows:
        both = np.array([told[row.switched], told[row.base]])
        assert np.isfinite(both).all(axis=0).sum() >= 2
    if name == "actions":
        assert told["propensity times value"][PLACE["GPM"]] > told["at random"][PLACE["GPM"]]
    if name == "search":
        assert told["no ads"][PLACE["relevance"]] > told["by money alone"][PLACE["relevance"]]
        assert told["no ads"][PLACE["RPM"]] < told["by money alone"][PLACE["RPM"]]
