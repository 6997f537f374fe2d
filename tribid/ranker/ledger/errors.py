"""What a ledger raises that a caller may want to catch.

RuntimeError
└── LedgerUnavailableError    the ledger is closed, or its store failed: try later, or open it again
ValueError
└── HoldExistsError           a page was reserved before, and otherwise

Everything else that the caller did wrong is a plain ``ValueError`` that names the field.
"""


class LedgerUnavailableError(RuntimeError):
    """The ledger takes no work now; what it was told in this call is not acknowledged and may or may not be stored.

    The same call again, to the ledger opened anew, is safe: ids make it count once.
    """


class HoldExistsError(ValueError):
    """A page's holds cannot be set aside: they are known for other amounts or advertisers, or were given back."""
