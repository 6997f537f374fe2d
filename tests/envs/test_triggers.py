"""A trigger's part of a scenario: what it allows, and its quiet hours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tribid.envs.triggers import DAY_MS, HOUR_MS, KINDS, Trigger

HOURS = st.floats(0, 24, exclude_max=True)


def test_every_field_has_a_default_and_a_meaning():
    assert Trigger().kind == "price_drop"
    assert [Trigger(kind=kind).kind for kind in KINDS] == list(KINDS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "birthday"}, {"name": ""}, {"name": "a b"}, {"least_drop": 1.1}, {"wait_hours": -1},
        {"window_hours": float("inf")},
        {"cap": -1}, {"cap": 101}, {"cap_days": 0}, {"quiet_from": 24}, {"quiet_to": -0.5}, {"utc_offset_hours": 15},
        {"channel": "fax"}, {"template": "../x"}, {"surprise": 1},
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_its_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Trigger(**wrong)


@given(HOURS, HOURS, st.floats(-14, 14), st.integers(0, 2 * DAY_MS))
def test_quiet_hours_end_within_a_day_and_are_over_then(start, end, offset, now_ms):
    trigger = Trigger(quiet_from=start, quiet_to=end, utc_offset_hours=offset)
    until = trigger.quiet_until(now_ms)
    assert now_ms <= until < now_ms + DAY_MS
    assert trigger.quiet_until(until) == until
    if until > now_ms:
        assert trigger.quiet_until(until - 1) == until, "quiet to the last millisecond"


@given(HOURS, st.integers(0, 2 * DAY_MS))
def test_equal_hours_are_never_quiet(hour, now_ms):
    assert Trigger(quiet_from=hour, quiet_to=hour).quiet_until(now_ms) == now_ms


@given(HOURS, HOURS, st.integers(0, DAY_MS))
def test_a_time_zone_moves_the_quiet_hours(start, end, now_ms):
    here = Trigger(quiet_from=start, quiet_to=end)
    there = Trigger(quiet_from=start, quiet_to=end, utc_offset_hours=5.5)
    shift = round(5.5 * HOUR_MS)
    assert there.quiet_until(now_ms) == here.quiet_until(now_ms + shift) - shift
