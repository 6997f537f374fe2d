"""Who owes what: the interface of ledgers, in whole micros, double entry.

Money moves between accounts, never from nothing: every entry debits one account and credits another by the same amount.
Accounts are ``funding`` (where budgets come from), ``advertiser/NAME/free``, ``advertiser/NAME/held`` and ``platform``.

    fund:     funding -> free          a day's budget
    reserve:  free    -> held          when a page is answered: the most that its slots can cost
    settle:   held    -> platform      a click (or an impression) that was promised
    release:  held    -> free          what was not clicked: told so, or expired
    close:    free    -> funding       what a day's budget has left at its end

``free`` never goes below 0. Whatever a method has returned is durable: it is there after a crash.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Hold(NamedTuple):
    """Money set aside for one slot of a page: ``id`` is ``"DAY.REQUEST.SLOT"``, ``ad`` the advertiser's index."""

    id: str
    ad: int
    amount_micros: int
    expires_ms: int


class Charge(NamedTuple):
    """An event that costs: ``event`` its id, ``hold`` the hold's id; ``amount_micros`` None takes all of the hold.

    What the hold had more than the amount goes back to ``free``. An ``amount_micros`` of 0 records the event and leaves
    the hold as it is: an impression where clicks are paid, a conversion.
    """

    event: str
    kind: Literal["impression", "click", "conversion"]
    hold: str
    time_ms: int
    amount_micros: int | None = None


class Charged(NamedTuple):
    """What became of a ``Charge``; ``ad`` is -1 where the hold is unknown. See ``tribid.ranker.messages.Receipt``.

    ``duplicate``: this event, or another of its kind for its hold, was recorded before. ``refused``: the event's id was
    recorded for another hold or kind; nothing is charged, for nobody can tell which of the two is meant.
    """

    status: Literal["accepted", "duplicate", "expired", "unknown", "refused"]
    charged_micros: int
    ad: int


class Refused(NamedTuple):
    """A page that was not reserved: the advertiser that had too little, and what it had free; nothing is held then."""

    ad: int
    free_micros: int


class Ledger(Protocol):
    """Budgets of one scenario's advertisers, opened day by day. Times are Unix milliseconds, passed in."""

    @property
    def names(self) -> tuple[str, ...]:
        """The advertisers by index."""
        ...

    @property
    def day(self) -> int:
        """The open day, as far as this process knows; -1 before the first."""
        ...

    async def open_day(self, day: int, budget_micros: Mapping[str, int]) -> None:
        """Close the day before, if one is open (what it holds stays held until settled or expired), and fund this one.

        Idempotent: a day that is open already keeps its balances. ``ValueError`` for a day before the open one, for other
        advertisers than the ledger has, and for a negative budget.
        """
        ...

    def free_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] may still promise, as far as this process knows. A copy."""
        ...

    def spent_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] has paid out of the open day's budget, not for pages of days before. A copy."""
        ...

    async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
        """Set aside a page's holds, all or none.

        In a ledger of one process the money is set aside before the first suspension, so that a decision made from
        ``free_micros`` just before is never refused. Where all holds exist alike already they are kept as they are (the
        same request again); ``ValueError`` where a hold cannot be; ``HoldExistsError``, which is one, where an id exists for
        another amount or advertiser, or was given back, and where some of the holds exist and others do not.
        """
        ...

    async def known(self, holds: Sequence[str]) -> list[str]:
        """Those of these holds that the ledger remembers, in order: the open ones, and for some time the ended ones.

        In a ledger of one process it does not suspend.
        """
        ...

    async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
        """Record events, in order, each once; see ``Charged``. An event after its hold's ``expires_ms`` is ``expired``.

        ``ValueError`` for more than the hold was for.
        """
        ...

    async def release(self, holds: Sequence[str]) -> int:
        """Give back what these holds still hold; how many had something. Unknown or ended holds are passed over."""
        ...

    async def expire(self, now_ms: int) -> int:
        """Give back what is held beyond its time; how many holds ended."""
        ...

    async def close(self) -> None:
        """Write what is left to be written and let go of the store; then all else raises ``LedgerUnavailableError``."""
        ...
