"""The decision log: what was decided and from what, as Parquet that leaves no user behind and can be decided again."""

from tribid.ranker.decision_log.files import LogReader
from tribid.ranker.decision_log.log import DecisionLog, LogState, new_salt, read_salt
from tribid.ranker.decision_log.replay import Difference, Replayed, replay
from tribid.ranker.decision_log.rows import Logged
from tribid.ranker.decision_log.schema import COLUMNS, Column, arrow_schema, user_token

__all__ = [
    "COLUMNS", "Column", "DecisionLog", "Difference", "LogReader", "LogState", "Logged", "Replayed", "arrow_schema",
    "new_salt", "read_salt", "replay", "user_token",
]  # fmt: skip
