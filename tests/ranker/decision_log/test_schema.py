"""The allow-list decides about every field, and no user leaves the process."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ranker.decision_log.pages import SALT, random_pages
from tribid.envs.scenario import load_scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log import COLUMNS, DecisionLog, LogReader, arrow_schema, user_token
from tribid.ranker.decision_log.schema import CANDIDATES, SLOTS, TYPES

WITHHELD: set[str] = set()
"""Fields of ``Decided`` that are not logged, on purpose. ``user`` is logged as a keyed hash."""


def test_every_field_of_a_decision_is_logged_or_withheld_on_purpose() -> None:
    logged = {column.field for column in COLUMNS if column.field}
    assert logged | WITHHELD == set(Decided._fields) and not logged & WITHHELD


def test_only_the_version_and_the_candidates_scores_are_the_logs_own() -> None:
    assert [column.name for column in COLUMNS if not column.field] == ["tribid", "candidate_score"]
    assert all(column.field in ("", column.name) for column in COLUMNS)
    assert set(TYPES) == set(CANDIDATES + SLOTS)


def test_a_written_file_has_exactly_the_columns_of_the_allow_list(tmp_path: Path) -> None:
    scenario = load_scenario("tiny")
    with DecisionLog(tmp_path, scenario=scenario, salt=SALT) as log:
        for page in random_pages(scenario, 5):
            log.append(page)
    (file,) = tmp_path.glob("*.parquet")
    schema = pq.read_schema(file)
    assert schema.names == [column.name for column in COLUMNS]
    assert schema.equals(arrow_schema())
    assert set(schema.metadata) == {b"tribid.decision_log", b"tribid.run", b"tribid.lost"}
    assert {field.name for field in schema if field.nullable} == {"user", "buying", "scene"}


def test_money_is_whole_and_floats_keep_their_width() -> None:
    schema = arrow_schema()
    assert all(pa.types.is_int64(getattr(f.type, "value_type", f.type)) for f in schema if f.name.endswith("_micros"))
    assert schema.field("pctr").type.value_type == pa.float32()
    assert schema.field("multiplier").type.value_type == schema.field("score").type.value_type == pa.float64()


def test_no_user_can_be_found_in_what_is_written(tmp_path: Path) -> None:
    scenario = load_scenario("tiny")
    users = [987_654_321 + step for step in range(40)]
    with DecisionLog(tmp_path, scenario=scenario, salt=SALT) as log:
        for user, page in zip(users, random_pages(scenario, 40), strict=True):
            log.append(page._replace(user=user))
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert {file.suffix for file in files} == {".parquet", ".json"}
    # Uncompressed, too: compression could hide what is there.
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in files:
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            pq.write_table(table, plain / file.name, compression="none", use_dictionary=False)
            _search_columns(table, set(users))
    for file in [*files, *plain.iterdir()]:
        content = file.read_bytes()
        assert SALT not in content and SALT.hex().encode() not in content
        for user in users:
            for width in (4, 8):
                for order in ("little", "big"):
                    assert user.to_bytes(width, order) not in content, f"{file.name} holds user {user}"
            assert str(user).encode() not in content and f"{user:x}".encode() not in content


def _search_columns(table: pa.Table, users: set[int]) -> None:
    for name in table.column_names:
        for value in table[name].to_pylist():
            flat = json.dumps(value)
            assert not any(str(user) in flat for user in users), f"column {name} holds a user"


def test_a_user_has_one_token_under_a_salt_and_another_under_another(tmp_path: Path) -> None:
    scenario = load_scenario("tiny")
    tokens = []
    for salt in (SALT, SALT, SALT[::-1]):
        folder = tmp_path / str(len(tokens))
        with DecisionLog(folder, scenario=scenario, salt=salt) as log:
            for page in random_pages(scenario, 5):
                log.append(page)
        tokens.append([logged.user for logged in LogReader(folder)])
    assert tokens[0] == tokens[1] != tokens[2]
    assert tokens[0][4] is None  # nobody
    assert tokens[0][0] == tokens[0][3] != tokens[0][1]  # users 1,000,003, again, and 1,000,004
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens[0][:4])


def test_tokens_of_a_population_are_distinct_and_nobody_has_none() -> None:
    tokens = {user_token(SALT, user) for user in range(20_000)}
    assert len(tokens) == 20_000 and None not in tokens
    assert user_token(SALT, -1) is None


@pytest.mark.parametrize("salt", [b"", b"short", b"x" * 65, "text of sixteen.", bytearray(16), None])
def test_a_salt_that_protects_nobody_is_refused(salt: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"salt is .*; allowed are 16 to 64 bytes") as told:
        DecisionLog(tmp_path, scenario="tiny", salt=salt)  # type: ignore[arg-type]
    assert "sixteen" not in str(told.value)


def test_every_row_of_the_table_is_written_for_people() -> None:
    for column in COLUMNS:
        assert column.meaning and not column.meaning.endswith(".") and "|" not in column.meaning
    assert np.unique([column.name for column in COLUMNS]).size == len(COLUMNS)
