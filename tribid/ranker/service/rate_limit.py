"""``RateLimit``: a token bucket for each client, in bounded memory."""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic


class RateLimit:
    """Lets each client make ``burst`` requests at once and ``rate_per_s`` a second from then on.

    Clients are addresses (an IPv6 one counts by its /64, of which one user has 2**64). The ``clients`` seen last are
    remembered, in memory alone; one that was forgotten starts with a full bucket.

    >>> limit = RateLimit(2.0, burst=1, clients=10, clock=lambda: 100.0)
    >>> limit.wait_s("192.0.2.1"), limit.wait_s("192.0.2.1"), limit.wait_s("192.0.2.2")
    (0.0, 0.5, 0.0)
    """

    def __init__(
        self,
        rate_per_s: float,
        *,
        burst: int | None = None,
        clients: int = 10_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.rate_per_s = rate_per_s
        self.burst = max(1, math.ceil(rate_per_s)) if burst is None else burst
        self._clients, self._clock = clients, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Count a request of this client; 0.0 where it may pass, or else after how many seconds it may come again."""
        client, now = _client(address), self._clock()
        full_at = max(self._full_at.get(client, now), now)
        wait = full_at + 1.0 / self.rate_per_s - now - self.burst / self.rate_per_s
        if wait > 1e-9:
            return wait
        self._full_at[client] = full_at + 1.0 / self.rate_per_s
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._clients:
            self._full_at.popitem(last=False)
        return 0.0

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._full_at)


def _client(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.split("%", 1)[0], 64), strict=False))
    except ValueError:
        return address
