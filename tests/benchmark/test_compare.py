"""Two runs side by side: made-up files, no clock."""

import pytest

from tribid.benchmark.compare import compare, comparison_lines


def _of(comparison, title):
    return next(change for change in comparison.changes if change.title == title)


def test_a_run_beside_itself_has_ratios_of_one_and_nothing_slower(made_up):
    comparison = compare(made_up(), made_up())
    assert not comparison.slower and not comparison.warnings and not comparison.new and not comparison.gone
    assert {change.absolute for change in comparison.changes} == {1.0, None}
    assert len(comparison.changes) == 7


@pytest.mark.parametrize(("longer", "slower"), [(1.14, False), (1.16, True), (0.5, False)])
def test_more_than_15_per_cent_more_time_is_slower(made_up, longer, slower):
    change = _of(compare(made_up(bare=longer), made_up()), "bare auction, 48 candidates")
    assert change.slower is slower
    assert change.to_read == pytest.approx(1 / longer)
    assert change.to_numpy == pytest.approx(1 / longer)
    assert change.absolute == pytest.approx(1 / longer)


def test_a_slower_machine_changes_absolute_figures_alone(made_up):
    comparison = compare(made_up(speed=0.5), made_up())
    change = _of(comparison, "bare auction, 48 candidates")
    assert (change.to_read, change.to_numpy, change.absolute) == pytest.approx((1.0, 1.0, 0.5))
    assert not comparison.slower


def test_a_duration_that_doubles_is_half_as_good(made_up):
    assert _of(compare(made_up(speed=0.5), made_up()), "a day").absolute == pytest.approx(0.5)


def test_what_was_nothing_and_is_something_is_marked(made_up):
    comparison = compare(made_up(torch=1.0), made_up())
    assert [change.title for change in comparison.slower] == ["torch imported"]


def test_one_yardstick_that_moved_alone_marks_nothing(made_up):
    now, then = made_up(), made_up()
    figures = [
        figure.model_copy(update={"to_read": figure.to_read / 2}) if figure.to_read else figure
        for figure in now.figures
    ]
    comparison = compare(now.model_copy(update={"figures": figures}), then)
    assert _of(comparison, "bare auction, 48 candidates").to_read == pytest.approx(0.5)
    assert not comparison.slower


def test_more_memory_is_marked_by_itself(made_up):
    now = made_up()
    figures = [
        figure.model_copy(update={"value": 300.0, "low": 300.0, "high": 300.0}) if figure.unit == "MB" else figure
        for figure in now.figures
    ]
    slower = compare(now.model_copy(update={"figures": figures}), made_up()).slower
    assert [(change.title, change.then, change.now) for change in slower] == [("peak memory", "250 MB", "300 MB")]


def test_unlike_runs_are_told(made_up):
    now, then = made_up(), made_up()
    now = now.model_copy(update={"figures": now.figures[:-1], "quick": True})
    then = then.model_copy(
        update={"figures": then.figures[1:], "machine": then.machine.model_copy(update={"cpu": "B"})}
    )
    lines = comparison_lines(compare(now, then))
    assert "this run is quick, the baseline whole" in lines[0]
    assert "the baseline is of another machine (B)" in lines[1]
    assert lines[2:] == [
        "not in the baseline: read_bandwidth",
        "in the baseline alone: import_torch",
        "0 of 5 figures are slower by more than 15%",
    ]
