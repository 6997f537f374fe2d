"""``ConsumersConfig``: what the consumers' side of a service keeps and where, read from one YAML file.

    profiles: runs/profiles            # a folder, or redis: its URL is in the environment's TRIBID_REDIS
    stock: stock.json                  # left out: the scenario's own items
    slots: {key_file: slots.key, choices: runs/slots.choices}
    actions: {model: runs/actions, journal: runs/action-log, salt_file: actions.salt}

Only ``profiles`` must be there. Triggers and actions are the scenario's (``kind: journey``).
"""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from tribid.ranker.decision_log.log import read_salt
from tribid.ranker.open_time.tokens import read_keys
from tribid.refusals import what_is_wrong

Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
REDIS = "redis"
"""What ``profiles`` says where they are kept in Redis."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SlotsConfig(_Part):
    """Slots of mails. ``key_file`` holds the secrets that seal their tokens; ``choices`` is where it is remembered what

    each slot showed, left out: forgotten with the process. ``budget_ms``, ``same_ms`` and ``currency`` are those of
    ``OpenTimeSettings``, ``fonts`` those of ``Painter``.
    """

    key_file: Path
    choices: Path | None = None
    budget_ms: float = Field(20.0, gt=0, le=60_000, allow_inf_nan=False)
    same_ms: int = Field(3_600_000, ge=1)
    currency: Text = "USD"
    fonts: tuple[Path, ...] = ()

    def keys(self) -> list[bytes]:
        """The secrets in ``key_file``; ``ValueError`` names field and file."""
        try:
            return read_keys(self.key_file)
        except ValueError as error:
            raise ValueError(f"slots.key_file: {error}") from None


class ActionsConfig(_Part):
    """Next best actions. ``model`` is a folder of ``tribid fit actions``; ``journal`` a folder for what is learnt from,

    with users hashed under the ``salt_file``'s 16 to 64 bytes. ``epsilon`` is the share of answers that explore.
    """

    model: Path | None = None
    journal: Path | None = None
    salt_file: Path | None = None
    epsilon: float = Field(0.05, ge=0, le=1, allow_inf_nan=False)
    weight_by_value: bool = False

    @model_validator(mode="after")
    def _salted(self) -> "ActionsConfig":
        if (self.journal is None) != (self.salt_file is None):
            raise ValueError(f"journal is {self.journal}, salt_file {self.salt_file}; allowed is both or neither")
        return self

    def salt(self) -> bytes:
        """The bytes in ``salt_file``; ``ValueError`` names field and file, also where there is none."""
        if self.salt_file is None:
            raise ValueError("actions.salt_file is missing; allowed is a file of 16 to 64 bytes")
        try:
            return read_salt(self.salt_file)
        except OSError as error:
            raise ValueError(f"actions.salt_file: {self.salt_file} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"actions.salt_file: {error}") from None


class ConsumersConfig(_Part):
    """See the module. ``prefix`` is of the keys in Redis, ``keep_days`` of ``ProfileSettings``.

    ``stock`` names a file of the shop's own items (``tribid.ranker.stock.source.read_stock``); left out, the scenario's are
    sold, under ``shop_url``. ``tend_s``: how often what is due is looked after.
    """

    profiles: Text
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "tribid"
    keep_days: float = Field(30.0, gt=0, le=3650, allow_inf_nan=False)
    stock: Path | None = None
    shop_url: Text = "https://shop.example"
    tend_s: float = Field(0.5, ge=0.01, le=3600, allow_inf_nan=False)
    slots: SlotsConfig | None = None
    actions: ActionsConfig = ActionsConfig()


def load_config(path: str | Path) -> ConsumersConfig:
    """The config in a YAML file; ``ValueError`` names the file, the field and what is allowed."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"consumers config {path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"consumers config {path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"consumers config {path} holds {type(content).__name__}; allowed is a mapping of settings")
    try:
        return ConsumersConfig.model_validate(content)
    except ValidationError as error:
        found = [(".".join(map(str, one["loc"])), what_is_wrong(one, ConsumersConfig)) for one in error.errors()]
        told = "; ".join(f"{where}: {what}" for where, what in found)
        raise ValueError(f"consumers config {path}: {told}") from None
