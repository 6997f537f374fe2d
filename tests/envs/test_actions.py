import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tribid.envs.actions import (
    MAX_ACTIONS,
    MAX_METADATA_COLUMNS,
    Action,
    Eligibility,
    actions_json,
    checked_actions,
    load_actions,
)


def test_an_action_runs_with_a_name_alone() -> None:
    action = Action(name="get the app")
    assert action.expires_ms is None and action.repeat_days is None and action.eligibility == Eligibility()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"repeat_days": 31}, "repeat_days"),
        ({"repeat_days": -1}, "repeat_days"),
        ({"repeat_days": True}, "repeat_days is True"),
        ({"value": -0.01}, "value"),
        ({"value": float("nan")}, "value"),
        ({"kind": "Join the club"}, "kind"),
        ({"kind": "buy_in_category"}, "category is None"),
        ({"category": 3}, "category is 3"),
        ({"expires": "soon"}, "expires"),
        ({"eligibility": {"stage": "in love"}}, "eligibility.stage"),
        ({"eligibility": {"country": "NZ"}}, "eligibility.country"),
        ({"metadata": {f"c{n}": 1.0 for n in range(11)}}, "metadata"),
        ({"metadata": {"c": float("inf")}}, "metadata.c"),
        ({"name": ""}, "name"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        Action(**({"name": "a"} | given))
    assert field in str(error.value)


def test_a_time_without_a_zone_is_utc() -> None:
    action = Action(name="a", expires="2026-02-03T04:05:06")
    assert action.expires == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert Action(name="a", expires="2026-02-03T06:05:06+02:00").expires_ms == action.expires_ms == 1_770_091_506_000


def test_a_catalogue_has_a_thousand_actions_ten_columns_and_each_name_once() -> None:
    many = [Action(name=f"a{n}") for n in range(MAX_ACTIONS)]
    assert len(checked_actions(many)) == 1000
    with pytest.raises(ValueError, match="actions are 1001; allowed are 1 to 1000"):
        checked_actions([*many, Action(name="b")])
    with pytest.raises(ValueError, match="name 'a7' twice"):
        checked_actions([*many[:9], Action(name="a7")])
    spread = [Action(name=f"a{n}", metadata={f"c{n}": "x"}) for n in range(MAX_METADATA_COLUMNS + 1)]
    with pytest.raises(ValueError, match="metadata has 11 columns over all"):
        checked_actions(spread)


def test_actions_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    given = (
        Action(name="buy shoes", kind="buy_in_category", category=4, value=2.5, repeat_days=7, expires="2030-01-01",
               eligibility=Eligibility(members="members", stage="loyal", brand="adv_01", has_ordered=True),
               metadata={"season": "spring", "margin": 0.3}),
        Action(name="get the app"),
    )  # fmt: skip
    file = tmp_path / "actions.json"
    file.write_text(json.dumps(actions_json(given)))
    assert load_actions(file) == given


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- name: a\n  value: -1\n", r"actions\[0\].value is -1"),
        ("- name: a\n- nome: b\n", r"actions\[1\].name is"),
        ("[]", "actions are 0"),
        ("a: [", "is no YAML"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
        ("7", "actions is 7"),
        ("- {name: a}\n- {name: a}", "name 'a' twice"),
    ],
)
def test_a_hostile_file_is_refused_by_name_and_field(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "actions.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_actions(file)
    assert "actions.yaml" in str(error.value)
