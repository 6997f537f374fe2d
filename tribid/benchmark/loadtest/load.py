"""``Load``: what is asked of a server, how often and for how long, checked once."""

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from tribid.benchmark.loadtest.arrivals import ARRIVALS
from tribid.ranker.messages import MAX_BATCH


@dataclass(frozen=True, kw_only=True)
class Load:
    """Open-loop load on the ranker at ``url`` (``http://127.0.0.1:8080``).

    ``rate`` requests a second are due for ``warmup`` seconds, which are not counted, and then for ``seconds``; each asks for
    ``batch`` pages. At most ``connections`` are open at once. ``timeout_s`` is when an answer is given up. ``clicks`` is
    the share of answered pages that are clicked. ``token`` is sent as a bearer token. ``ValueError`` names a wrong field.
    """

    url: str
    rate: float = 100.0
    seconds: float = 10.0
    warmup: float = 2.0
    arrivals: str = "poisson"
    batch: int = 1
    connections: int = 64
    timeout_s: float = 10.0
    clicks: float = 0.0
    token: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"URL is {self.url!r}; allowed is one such as http://127.0.0.1:8080")
        if self.arrivals not in ARRIVALS:
            raise ValueError(f"arrivals is {self.arrivals!r}; choose {' or '.join(ARRIVALS)}")
        for name, low, high in (
            ("rate", 0.01, 1e6), ("seconds", 0.1, 86_400), ("warmup", 0, 3600), ("batch", 1, MAX_BATCH),
            ("connections", 1, 10_000), ("timeout_s", 0.001, 3600), ("clicks", 0, 1), ("seed", 0, 2**32 - 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {value}; allowed is {low:g} to {high:g}")

    @property
    def base(self) -> str:
        """The URL without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def events_url(self) -> str:
        """Where clicks go."""
        return f"{self.base}/v1/events"

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        given = {"Content-Type": "application/json"}
        return given | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
