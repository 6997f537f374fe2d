"""What every address of the service takes, gives and refuses: the rows of its OpenAPI document."""

from typing import NamedTuple

JSON = "application/json"

PLAIN = ("400", "401", "405", "429")
ASKING = (*PLAIN, "503")
BODY = (*ASKING, "403", "408", "413", "415", "422")


class Operation(NamedTuple):
    """One address and method: what it takes and gives, by the names of schemas, and the errors that it answers."""

    method: str
    path: str
    summary: str
    description: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    errors: tuple[str, ...] = PLAIN
    text: str = JSON
    refusals: tuple[tuple[str, str], ...] = ()
    """Statuses whose answers have no body to speak of, and what they mean."""


OPERATIONS = (
    Operation(
        "post", "/v1/rank", "Decide pages: who is shown, at what price, and why.",
        "One request, or several that are decided in order. The same (day, request) with the same content gets the same "
        "decision again and reserves no more money.",
        ("Request", "RankBatch"), ("Decision", "Decisions"), (*BODY, "409"),
    ),
    Operation(
        "post", "/v1/events", "Tell what happened to pages, and what consumers did.",
        "Each event counts once, by its id; receipts say what became of each. One event is there at least; `consumers` are "
        "for a service that keeps profiles.",
        ("EventBatch",), ("Receipts",), BODY,
    ),
    Operation(
        "get", "/v1/policies", "Which releases of policies there are, and what each is used for.", "",
        (), ("Policies",), ASKING,
    ),
    Operation(
        "post", "/v1/policies/{name}:activate", "Put a release to use: active, in shadow, for a share of users, or off.",
        "Takes effect between two requests; none is dropped.", ("Activation",), ("Policies",), (*BODY, "404"),
    ),
    Operation(
        "post", "/v1/policies:rollback", "Make the release that was active before the active one again.",
        "", (), ("Policies",), BODY,
    ),
    Operation("get", "/healthz", "Whether the process lives.", "", (), ("Health",), ("400", "405")),
    Operation(
        "get", "/readyz", "Whether it may be asked: policies loaded, ledger open, not shutting down.", "",
        (), ("Health",), ("400", "405"),
    ),
    Operation("get", "/metrics", "Metrics in Prometheus' text format.", "", text="text/plain"),
    Operation("get", "/openapi.json", "This document.", ""),
    Operation("get", "/docs", "This document as a page.", "", text="text/html"),
)  # fmt: skip

CONSUMER_OPERATIONS = (
    Operation(
        "get", "/v1/profile/{user}", "What is known of a user.", "With `export=true`, all that is held about them.",
        (), ("ShownProfile",), (*ASKING, "404", "422"),
    ),
    Operation(
        "delete", "/v1/profile/{user}", "Erase a user's data; answers when they are gone.", "", (), ("ErasedData",),
        (*ASKING, "403", "422"),
    ),
    Operation(
        "get", "/v1/messages", "Messages that triggers set off and that are to be sent.",
        "Each is handed out again after a while unless it is acknowledged.", (), ("Messages",), (*ASKING, "422"),
    ),
    Operation(
        "post", "/v1/messages:ack", "Say that messages were sent.", "", ("Acknowledgement",), ("Acknowledged",), BODY,
    ),
    Operation(
        "get", "/v1/items/{item}", "An item's title, price and number as of now.", "", (), ("StockItem",), (*ASKING, "404"),
    ),
    Operation(
        "post", "/v1/items", "Change prices, numbers, titles and addresses of items.",
        "All changes are checked before the first is made. A call with an id is made once: told again, it gets the answer "
        "that it got.", ("ItemChanges",), ("ItemStates",), (*BODY, "409"),
    ),
)  # fmt: skip
"""Where the service keeps profiles."""

ACTION_OPERATIONS = (
    Operation("get", "/v1/actions", "Actions that may be proposed, and which have a model.", "", (), ("Catalogue",), ASKING),
    Operation(
        "post", "/v1/actions", "The next best actions of a user.", "", ("ActionRequest",), ("ActionList",), BODY,
    ),
    Operation(
        "post", "/v1/actions/events", "Tell which proposals were viewed, not taken and taken.", "", ("ActionEvents",),
        ("ActionReceipts",), BODY,
    ),
    Operation(
        "post", "/v1/actions:reload", "Use the model that is in the folder now.", "", (), ("Reloaded",), (*BODY, "409"),
    ),
)  # fmt: skip
"""Where the scenario has actions."""

_SEALED = (
    ("403", "The token is none of this service's."),
    ("410", "The token's time is over, or it is used up."),
    ("429", "Too fast; `Retry-After` says until when."),
)
SLOT_OPERATIONS = (
    Operation(
        "get", "/v1/slot/{token}.png", "A mail's slot, picked and drawn now.", "", (), (), ("400", "405", "503"),
        "image/png", _SEALED,
    ),
    Operation(
        "get", "/v1/slot/{token}/click", "302 to the item that the slot showed.", "", (), (), ("400", "405", "503"), "",
        _SEALED,
    ),
)  # fmt: skip
"""Where mails have slots; asked without a token of the service's, for theirs are sealed."""
