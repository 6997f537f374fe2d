"""What a live ranker tells of itself, for health checks and metrics."""

import msgspec


class Balance(msgspec.Struct, frozen=True):
    """An advertiser's money of the open day, in micros; ``held`` is what is neither free nor spent of its budget."""

    free_micros: int
    held_micros: int
    spent_micros: int


class LiveState(msgspec.Struct, frozen=True, kw_only=True):
    """What a live ranker tells of itself; counts are since it was opened.

    ``fallbacks`` counts pages by fallback name; ``advertisers`` is the money by advertiser; ``policy`` the active release,
    ``"NAME@VERSION"``; ``failed_refreshes`` how often a release's policy failed to bid,
    ``unlogged`` how many decisions the log failed to take.
    """

    scenario: str
    day: int
    tick: int
    decided: int
    slots_sold: int
    refused_reserves: int
    fallbacks: dict[str, int]
    advertisers: dict[str, Balance]
    policy: str
    failed_refreshes: dict[str, int]
    unlogged: int = 0
