"""The request path: what was learnt, answering one request at a time."""

from tribid.ranker.ranker import Ranker
from tribid.ranker.request import Candidate, RankDecision, Request, parse_request

__all__ = ["Candidate", "RankDecision", "Ranker", "Request", "parse_request"]
