"""Medians, spreads, ratios, and the clock that they come from."""

import pytest
from pydantic import ValidationError

from tribid.benchmark.clock import interleaved
from tribid.benchmark.figure import Figure, duration, plain, rate


def test_a_figure_is_the_median_with_the_least_and_the_most():
    figure = rate("bare", "Bare", "impressions/s", [2.0, 1.0, 8.0], 16.0, group="bare", clock="cpu")
    assert (figure.value, figure.low, figure.high, figure.repetitions, figure.seconds) == (8.0, 2.0, 16.0, 3, 2.0)


def test_ratios_compare_times_so_that_more_is_better():
    # 1000 impressions of 50 candidates are 200,000 bytes: 2 s to read at 100 kB/s, 10 s for numpy at 100 a second.
    figure = duration("day", "Day", [4.0], impressions=1000, candidates=50, group="days", clock="cpu")
    beside = figure.beside(bytes_per_s=100_000, impressions_per_s=100)
    assert (beside.to_read, beside.to_numpy) == (0.5, 2.5)


def test_a_figure_without_impressions_is_held_against_one_gb_and_a_million_impressions():
    beside = duration("start", "Start", [2.0], group="startup", clock="wall").beside(1e9, 1e6)
    assert (beside.to_read, beside.to_numpy) == (0.5, 0.5)


@pytest.mark.parametrize("clock", ["none", "device"])
def test_memory_and_gpu_times_have_no_ratios_to_one_core(clock):
    beside = plain("peak", "Peak", "MB", [3.0], better="lower", group="days", clock=clock).beside(1e9, 1e6)
    assert beside.to_read is None and beside.to_numpy is None


def test_a_median_outside_its_spread_is_refused():
    content = plain("peak", "Peak", "MB", [3.0], better="lower", group="days").model_dump() | {"value": 9.0}
    with pytest.raises(ValidationError, match="value is 9; allowed is from low, 3, to high, 3"):
        Figure(**content)


def test_interleaved_works_take_turns_after_one_warm_up_each():
    order, now = [], [0.0]

    def work(name, seconds):
        order.append(name)
        now[0] += seconds

    taken = interleaved([lambda: work("a", 1.0), lambda: work("b", 3.0)], 2, clock=lambda: now[0])
    assert taken == [[1.0, 1.0], [3.0, 3.0]]
    assert order == ["a", "b"] * 3
