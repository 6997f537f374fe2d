"""What a ledger is told, checked before anything changes: ids, whole numbers, budgets. ``ValueError`` names the field."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tribid.ranker.ledger.interface import Charge, Hold

MAX_MICROS: Final = 2**63 - 1  # what 64 bits hold; more is refused, never rounded or wrapped
MAX_TIME_MS: Final = 2**53  # and no later, so that sums of times fit, too
MAX_ID: Final = 200
KINDS: Final = ("impression", "click", "conversion")


def whole(field: str, value: Any, *, most: int = MAX_MICROS) -> int:
    """The value as a plain int from 0 to `most`; numpy's integers are welcome, floats are not.

    >>> whole("amount_micros", 1_500_000)
    1500000
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{field} is {value!r}; allowed are whole numbers from 0 to {most}") from None
    if not 0 <= number <= most:
        raise ValueError(f"{field} is {number}; allowed are whole numbers from 0 to {most}")
    return number


def check_id(field: str, value: Any) -> None:
    """Refuse what no store keeps: an id is 1 to 200 characters of UTF-8 without NUL."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise ValueError(f"{field} is {value!r:.80}; allowed are texts of 1 to {MAX_ID} characters")
    if value.isascii() and value.isprintable():
        return
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{field} is {value!r:.80}; allowed is text without NUL and lone surrogates")


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Advertisers' names by index: at least one, each once."""
    found = tuple(names)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"names is {list(found)}; a ledger needs at least one advertiser, each named once")
    for ad, name in enumerate(found):
        check_id(f"names[{ad}]", name)
    return found


def check_budgets(names: tuple[str, ...], budget_micros: Mapping[str, int]) -> list[int]:
    """Budgets [A] in the order of `names`, which they must name exactly."""
    if set(budget_micros) != set(names):
        raise ValueError(f"budget_micros names {sorted(budget_micros)}; this ledger has {sorted(names)}")
    return [whole(f"budget_micros[{name!r}]", budget_micros[name]) for name in names]


def check_hold(number: int, hold: Hold, advertisers: int) -> Hold:
    """A page's hold with plain numbers; errors call it ``holds[number]``."""
    name, ad, amount, until = hold
    check_id(f"holds[{number}].id", name)
    return Hold(
        name,
        whole(f"holds[{number}].ad", ad, most=advertisers - 1),
        whole(f"holds[{number}].amount_micros", amount),
        whole(f"holds[{number}].expires_ms", until, most=MAX_TIME_MS),
    )


def check_charge(number: int, charge: Charge) -> Charge:
    """An event's charge with plain numbers; errors call it ``charges[number]``."""
    event, kind, hold, time_ms, amount = charge
    check_id(f"charges[{number}].event", event)
    check_id(f"charges[{number}].hold", hold)
    if kind not in KINDS:
        raise ValueError(f"charges[{number}].kind is {kind!r}; choose {', '.join(KINDS)}")
    time_ms = whole(f"charges[{number}].time_ms", time_ms, most=MAX_TIME_MS)
    return Charge(
        event, kind, hold, time_ms, amount if amount is None else whole(f"charges[{number}].amount_micros", amount)
    )
