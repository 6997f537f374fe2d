"""A rehearsal: made-up pages on every way through the pipeline, so that the first real one finds everything loaded."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.places import EVERYBODY
from tribid.envs.settlement import new_counts, tell
from tribid.ranker.live_books import LiveBooks
from tribid.ranker.messages import Offer, Request
from tribid.ranker.pipeline import Pipeline
from tribid.ranker.time_budget import TimeBudget

_FEW = 2


def rehearse(
    pipeline: Pipeline, books: LiveBooks, multipliers: NDArray[np.float64] | None, day: int, tick: int
) -> None:
    """Decide pages of the first user: of ads that it brings with rates, of ads without, and of ads that are retrieved.

    That loads the kernels (on a new machine it compiles them, which takes minutes) and wakes learnt parts. Nothing of it
    is kept: no money, no book, no log, no count, and the pipeline has forgotten its times, failures and predictions.
    ``multipliers`` [A, S] are those to bid with (None: none yet).
    """
    few = pipeline.check.names[:_FEW]
    for candidates in (tuple(Offer(name, 0.01, 0.01) for name in few), tuple(Offer(name) for name in few), None):
        budget = TimeBudget(None)
        page = pipeline.prepare(Request(request=0, user=0, candidates=candidates), day, tick, budget)
        seen = np.zeros_like(books.seen(page))
        pipeline.decide(page, multipliers, pipeline.budget_micros.copy(), budget, seen, every_bid=True)
        who = EVERYBODY if page.found.ads is None else page.found.ads
        tell(who, np.zeros((len(seen), 1, seen.shape[2])), new_counts(len(pipeline.check.names)))
    pipeline.forget()
