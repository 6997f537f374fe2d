"""``Settings``: where the service listens, whom it lets in, and how much of everything it takes."""

import ipaddress
import math
import os
from dataclasses import dataclass, field, fields
from pathlib import Path

TOKEN_VARIABLE = "TRIBID_TOKEN"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""What a browser calls a loopback server; another name in ``Host`` is a page that rebinds its own name to it."""

_MIN_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the service allows. All have safe defaults; ``ValueError`` names the field on creation.

    ``token`` is asked of every caller, as ``Authorization: Bearer TOKEN``, except of ``/healthz`` and ``/readyz``.
    ``hosts`` are the names that ``Host`` may hold, and a loopback ``host`` itself; empty allows any. ``rate_per_s`` and
    ``burst`` bound each client, known by its address (an IPv6 one by its /64), of which ``rate_clients`` are remembered.
    ``timeout_ms`` is the time budget of rank requests that bring none. Sizes are bytes, times seconds:
    ``header_timeout_s`` from the first byte, or from the connection, to the end of the headers, ``body_timeout_s`` from
    there to the end of the body, ``write_timeout_s`` how long a client may take to read a full buffer of answer,
    ``keep_alive_s`` between requests. On SIGTERM ``/readyz`` is 503 for ``drain_s`` before the door closes, and what is
    in flight then has ``shutdown_s`` to finish.
    ``metrics_advertisers`` advertisers have money metrics of their own; with more there are only sums. One rank call in
    ``stage_sample`` is timed stage by stage.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    rate_per_s: float | None = None
    burst: int | None = None
    rate_clients: int = 10_000
    timeout_ms: float | None = None
    max_body_bytes: int = 1_048_576
    max_header_bytes: int = 32_768
    max_connections: int = 2_000
    header_timeout_s: float = 10.0
    body_timeout_s: float = 10.0
    write_timeout_s: float = 10.0
    keep_alive_s: float = 60.0
    drain_s: float = 0.0
    shutdown_s: float = 10.0
    metrics_advertisers: int = 200
    stage_sample: int = 64

    def __post_init__(self) -> None:
        least = {"port": 0, "drain_s": 0, "metrics_advertisers": 0, "max_header_bytes": 1_024, "max_body_bytes": 1_024}
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None or one.name in ("host", "token", "hosts"):
                continue
            if isinstance(value, bool) or not math.isfinite(value) or value < least.get(one.name, 0):
                raise ValueError(f"{one.name} is {value}; allowed is a number from {least.get(one.name, 0)}")
            if value == 0 and one.name not in least:
                raise ValueError(f"{one.name} is 0; allowed is a number above 0")
        own = f"[{self.host}]" if ":" in self.host else self.host
        if self.hosts and own not in self.hosts and is_loopback(self.host):
            object.__setattr__(self, "hosts", (*self.hosts, own))
        if self.port > 65_535:
            raise ValueError(f"port is {self.port}; allowed is 0 (any free one) to 65535")
        if self.token is not None:
            _check_token(self.token, "token")
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError(f"burst is {self.burst} without rate_per_s; give both, or rate_per_s alone")

    def check_open_to(self) -> None:
        """``ValueError`` where others than this machine could connect and no token is asked of them."""
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host is {self.host}, which others can reach, and there is no token; allowed without one are "
                f"127.0.0.1, ::1 and localhost. Write a secret of at least {_MIN_TOKEN} characters to a file and give it "
                f"as --token-file FILE, or set {TOKEN_VARIABLE}"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(file: Path | None) -> str | None:
    """The token in a file, or else in the environment's ``TRIBID_TOKEN``; None where there is neither.

    ``ValueError`` for one that is too short to keep anybody out, or that no header can carry.
    """
    if file is not None:
        return _check_token(file.read_text(encoding="utf-8").strip(), f"token file {file}")
    found = os.environ.get(TOKEN_VARIABLE, "").strip()
    return _check_token(found, TOKEN_VARIABLE) if found else None


def _check_token(token: str, where: str) -> str:
    if len(token) < _MIN_TOKEN:
        raise ValueError(f"{where} has {len(token)} characters; allowed are {_MIN_TOKEN} or more")
    if not all("!" <= letter <= "~" for letter in token):
        raise ValueError(f"{where} has blanks or other than ASCII letters; allowed are visible ASCII characters")
    return token
