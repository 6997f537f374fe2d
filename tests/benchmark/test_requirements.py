"""What must hold is judged by the figures, and what was not measured is not judged."""

from tribid.benchmark.requirements import verdicts


def _held(results):
    return {verdict.requirement.what: verdict.held for verdict in verdicts(results)}


def test_either_of_two_bounds_is_enough(made_up):
    bare = "bare auction, 48 candidates, 3 slots, charge and click draw"
    assert _held(made_up())[bare] is False  # 10 million a second, 10 times numpy
    assert _held(made_up(bare=0.7))[bare] is True  # 14.3 million
    assert _held(made_up(bare=0.7, speed=0.5))[bare] is True  # 7.1 million, 14.3 times numpy
    assert _held(made_up(bare=0.8, speed=0.5))[bare] is False


def test_bounds_from_above_and_from_below(made_up):
    day = "day of 500,000 impressions, feed with OCPC"
    assert _held(made_up())[day] is True  # 0.1 s
    assert _held(made_up(speed=0.4))[day] is False  # 0.25 s
    assert _held(made_up())["torch imported with it"] is True
    assert _held(made_up(torch=1.0))["torch imported with it"] is False


def test_what_was_not_measured_is_not_judged(made_up):
    assert _held(made_up())["GPU, bare auction, 48 candidates"] is None
