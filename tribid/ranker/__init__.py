"""The request path: what was learnt, answering one request at a time."""

from tribid.ranker.live import Closed, Conflict, LiveRanker
from tribid.ranker.live_state import LiveState
from tribid.ranker.messages import (
    Decision,
    Event,
    Offer,
    Outcome,
    Receipt,
    Request,
    Slot,
    VisitEvent,
    decode_request,
)
from tribid.ranker.ranker import Ranker
from tribid.ranker.releases import Policies

__all__ = [
    "Closed", "Conflict", "Decision", "Event", "LiveRanker", "LiveState", "Offer", "Outcome", "Policies", "Ranker",
    "Receipt", "Request", "Slot", "VisitEvent", "decode_request",
]  # fmt: skip
