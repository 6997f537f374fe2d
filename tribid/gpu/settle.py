"""Settlement on tensors: a tick of many markets, each in request order with hard budgets, by speculative blocks.

A request's decision depends on the charges before it, through the money left and through visits that ended. Most charges
change nothing, though: a bid depends on the money left only where it reaches it. So a block of requests of every market is
decided at once under the money of the block's start, and each market keeps the rows up to the first one that an earlier
row of the block would have changed; there its next block begins. The first row of a block always stands, so every market
moves. Kept rows are what request-by-request settlement gives: integers, winners and draws exactly, float64 sums over
requests to the last bits (their order of summation differs).

One copy of two flags to the host per block: whether every market is through, and whether the next block has to draw for
equal scores.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tribid.envs.chance import Stream
from tribid.gpu import auction
from tribid.gpu.auction import Ranking
from tribid.gpu.draws import unit4
from tribid.gpu.law import Law
from tribid.gpu.ocpc import adjust
from tribid.gpu.requests import Batch, Counts, Pages, Standing, new_pages


class _Decided(NamedTuple):
    """A block's decisions: ranking and prices [M, R, K], ``weight`` [M, R, N], and what they need to stand.

    ``needed`` [M, R, N]: the decision holds for any money left from this amount on.
    """

    ranking: Ranking
    price: Tensor
    weight: Tensor
    needed: Tensor


class _Shown(NamedTuple):
    """What users did with a block's pages, [M, R, K], and ``relevance`` and ``leaves`` [M, R]."""

    exposed: Tensor
    clicked: Tensor
    converted: Tensor
    charge: Tensor
    relevance: Tensor
    leaves: Tensor


def settle(
    law: Law, batch: Batch, multiplier: Tensor, standing: Standing, *, block: int = 32, record: bool = False
) -> tuple[Standing, Pages | None]:
    """Settle the batch: the standing after it, and its pages where ``record`` asks for them.

    ``multiplier`` is float64 [M, S, N]. The arguments stay as they are. A visit is known by its number within ``gone``, so
    a tick may come in several batches, each from the standing of the one before.
    """
    markets, requests, advertisers = batch.pctr.shape
    device, size = batch.pctr.device, max(1, min(block, requests))
    # One more column takes the writes that are not meant to count.
    gone = torch.nn.functional.pad(standing.gone, (0, 1))
    left, counts = standing.left_micros, standing.counts
    pages = new_pages(markets, requests + 1, law.slots, device) if record else None
    cursor, steps = torch.zeros_like(batch.length), torch.arange(size, device=device)
    draw_ties, finished = False, requests == 0
    while not finished:
        index = cursor.unsqueeze(1) + steps
        live = index < batch.length.unsqueeze(1)
        rows = _take(batch, index.clamp(max=requests - 1))
        skipped = gone.gather(1, rows.session)
        decided = _decide(law, rows, multiplier, left, draw_ties)
        shown = _show(law, rows, decided, left, live & ~skipped)
        charged = _per_advertiser(shown.charge, decided.ranking.top, advertisers)
        before = charged.cumsum(1) - charged
        stands = ((before == 0) | (left.unsqueeze(1) - before >= decided.needed)).all(-1)
        stands &= ~_left_earlier(rows.session, shown.leaves)
        undecided = decided.ranking.tied & live & ~skipped
        if not draw_ties:
            stands &= ~undecided
        kept = live & stands.cumprod(1).to(torch.bool)
        left = left - (charged * kept.unsqueeze(-1)).sum(1)
        gone.scatter_(1, torch.where(kept & shown.leaves, rows.session, gone.shape[1] - 1), True)
        gone[:, -1] = False
        counts = _count(counts, law, rows, decided, shown, kept & ~skipped)
        if pages is not None:
            _write(pages, torch.where(kept, index, requests), decided, shown, skipped)
        cursor = cursor + kept.sum(1)
        # A tie that was not drawn ends its market's block. Drawing costs, so only a block after ties draws.
        ties = undecided & (kept if draw_ties else index == cursor.unsqueeze(1))
        finished, draw_ties = torch.stack(((cursor >= batch.length).all(), ties.any())).tolist()
    after = Standing(left, gone[:, :-1], counts)
    return after, None if pages is None else Pages(*(page[:, :requests] for page in pages))


def _take(batch: Batch, index: Tensor) -> Batch:
    """The rows ``index`` [M, R] of every market."""
    market = torch.arange(index.shape[0], device=index.device).unsqueeze(1)
    rows = [field[market, index] for field in batch[3:]]
    return Batch(batch.length, batch.seed.unsqueeze(1), batch.day.unsqueeze(1), *rows)


def _decide(law: Law, rows: Batch, multiplier: Tensor, left: Tensor, draw_ties: bool) -> _Decided:
    """Bid, adjust, rank and price as ``tribid.envs.decision`` does, under the money ``left`` [M, N]."""
    market = torch.arange(left.shape[0], device=left.device).unsqueeze(1)
    money = left.unsqueeze(1)
    cap = torch.minimum(law.cap_micros, money).clamp(min=0)
    limit, reserve = cap.to(torch.float64), rows.reserve_micros
    pctr = rows.pctr.to(torch.float64)
    exact = law.bid_per_click + law.bid_per_pcvr * rows.pcvr.to(torch.float64)
    exact = multiplier[market, rows.segment] * exact
    if law.per_impression:
        exact = exact * pctr
    whole = torch.where(exact < limit, exact, limit).to(torch.int64)
    bids = torch.where(whole >= reserve.unsqueeze(-1), whole, 0)
    weight = torch.ones_like(pctr) if law.per_impression else auction.quality_weight(rows.pctr, law.squash)
    adjusted = adjust(
        law.ocpc, bids, weight, rows.pctr, rows.pcvr, law.mean_pcvr, law.price_micros, law.opted_in, cap, reserve,
        law.slots,
    )  # fmt: skip
    bids, weight, tie = adjusted.bids, adjusted.weight, adjusted.tie
    ranking = auction.rank(bids, weight, reserve, law.slots + 1, tie)
    if draw_ties:
        ad = torch.arange(bids.shape[-1], device=bids.device)
        seed, day, request = (field.unsqueeze(-1) for field in (rows.seed, rows.day, rows.request))
        draw = unit4(seed, Stream.TIE, day, request, ad)[0]
        draw = torch.where(ranking.tied.unsqueeze(-1), draw, 0.0)
        ranking = auction.rank(bids, weight, reserve, law.slots + 1, draw if tie is None else tie + draw)
    price = auction.prices(law.mechanism, bids, weight, law.slot_effects, reserve, ranking)
    # A bid that reaches the money left needs all of it.
    needed = torch.minimum(torch.maximum(whole, adjusted.most), law.cap_micros)
    return _Decided(ranking, price, weight, needed)


def _show(law: Law, rows: Batch, decided: _Decided, left: Tensor, served: Tensor) -> _Shown:
    """Draw what users do with the pages of the ``served`` rows [M, R], charge it, and see who leaves."""
    slots = law.slots
    winner = decided.ranking.top[..., :slots]
    shown = (winner >= 0) & served.unsqueeze(-1)
    ad = winner.clamp(min=0)
    click_rate, conversion_rate = rows.ctr.gather(-1, ad).double(), rows.cvr.gather(-1, ad).double()
    effect = law.slot_effects.expand_as(click_rate)
    if law.expected:
        exposed, clicked = effect, effect * click_rate
        converted = clicked * conversion_rate
    else:
        nobody = torch.zeros_like(rows.request)
        depth = unit4(rows.seed, Stream.DEPTH, rows.day, rows.request, nobody)[0].unsqueeze(-1)
        seed, day, request = (field.unsqueeze(-1) for field in (rows.seed, rows.day, rows.request))
        draw_click, draw_conversion, _, _ = unit4(seed, Stream.OUTCOME, day, request, ad)
        exposed = (depth < effect).double()
        clicked = torch.where(draw_click < click_rate, exposed, 0.0)
        converted = torch.where(draw_conversion < conversion_rate, clicked, 0.0)
    exposed, clicked, converted = (torch.where(shown, event, 0.0) for event in (exposed, clicked, converted))
    event = exposed if law.per_impression else clicked
    charge = torch.floor(decided.price.double() * event + 0.5).to(torch.int64)
    charge = torch.minimum(charge, left.unsqueeze(1).expand(*ad.shape[:2], -1).gather(-1, ad))
    relevance, seen, shortfall = (torch.zeros_like(effect[..., 0]) for _ in range(3))
    for k in range(slots):
        here = shown[..., k]
        relevance = relevance + torch.where(here, effect[..., k] * click_rate[..., k], 0.0)
        seen = seen + torch.where(here, effect[..., k], 0.0)
        short = effect[..., k] * (1.0 - click_rate[..., k] / law.numbers[4]).clamp(min=0.0)
        shortfall = shortfall + torch.where(here, short, 0.0)
    leaves = torch.zeros_like(served)
    if law.users_leave:
        chance = law.leave_base + torch.where(seen > 0.0, law.leave_irrelevance * shortfall / seen, 0.0)
        draw = unit4(rows.seed, Stream.LEAVE, rows.day, rows.request, torch.zeros_like(rows.request))[0]
        leaves = served & (draw < chance)
    return _Shown(exposed, clicked, converted, charge, relevance, leaves)


def _left_earlier(session: Tensor, leaves: Tensor) -> Tensor:
    """Whether an earlier row of the block ended this row's visit, [M, R]."""
    size = session.shape[1]
    earlier = torch.ones((size, size), dtype=torch.bool, device=session.device).tril(-1)
    same = session.unsqueeze(2) == session.unsqueeze(1)
    return (same & earlier & leaves.unsqueeze(1)).any(-1)


def _per_advertiser(amount: Tensor, winner: Tensor, advertisers: int) -> Tensor:
    """Amounts by slot [M, R, K] as amounts by advertiser [M, R, N]; a request's winners differ, so nothing is added."""
    slots = amount.shape[-1]
    place = torch.where(winner[..., :slots] >= 0, winner[..., :slots], advertisers)
    wide = torch.zeros((*amount.shape[:2], advertisers + 1), dtype=amount.dtype, device=amount.device)
    return wide.scatter_(-1, place, amount)[..., :advertisers]


def _count(counts: Counts, law: Law, rows: Batch, decided: _Decided, shown: _Shown, served: Tensor) -> Counts:
    """The counts with the ``served`` rows [M, R] added."""
    ranking, slots = decided.ranking, law.slots
    score, mask = ranking.score, served.unsqueeze(-1)
    advertisers = score.shape[-1]
    taking_part = (score > 0.0) & mask
    winner = ranking.top[..., :slots]
    won = ((winner >= 0) & mask).double()
    price = decided.price.double() * won
    by_slot = torch.stack((won, shown.exposed, shown.clicked, shown.converted, price)) * mask
    wins, exposures, clicks, conversions, paid = (
        _per_advertiser(amount, winner, advertisers).sum(1) for amount in by_slot
    )
    gap = torch.where(taking_part, _gap(rows, decided, slots), 0.0).sum(1)
    added = Counts(
        served.sum(1, keepdim=True).double().expand(-1, advertisers), taking_part.double().sum(1), wins, exposures,
        clicks, conversions, paid, gap, (rows.pctr.double() * mask).sum(1), (rows.pcvr.double() * mask).sum(1),
    )  # fmt: skip
    return Counts(*(old + new for old, new in zip(counts, added, strict=True)))


def _gap(rows: Batch, decided: _Decided, slots: int) -> Tensor:
    """Own score over the score to beat - 1, at most 1, [M, R, N]; a winner beats the runner-up or the reserve."""
    ranking = decided.ranking
    score, advertisers = ranking.score, ranking.score.shape[-1]
    to_beat = ranking.top_score[..., slots - 1 : slots]
    inverse = torch.where(to_beat > 0.0, 1.0 / to_beat, torch.inf)
    gap = (score * inverse - 1.0).clamp(max=1.0)
    winner = ranking.top[..., :slots]
    own = ranking.top_score[..., :slots]
    floor = rows.reserve_micros.unsqueeze(-1).double() * decided.weight.gather(-1, winner.clamp(min=0))
    rival = torch.maximum(ranking.top_score[..., slots:], floor)
    above = torch.where(rival > 0.0, (own / rival - 1.0).clamp(max=1.0), 1.0)
    return gap + _per_advertiser(above - (own * inverse - 1.0).clamp(max=1.0), winner, advertisers)


def _write(pages: Pages, index: Tensor, decided: _Decided, shown: _Shown, skipped: Tensor) -> None:
    """Write a block into the pages at the rows ``index`` [M, R]; the last row takes what is not kept."""
    ranking, slots = decided.ranking, shown.charge.shape[-1]
    empty = skipped | (index == pages.winner.shape[1] - 1)
    wide, blank = empty.unsqueeze(-1), torch.zeros_like(shown.relevance)
    values = Pages(
        torch.where(wide, -1, ranking.top[..., :slots]), torch.where(wide, 0, decided.price),
        torch.where(wide, 0.0, ranking.top_score[..., :slots]), shown.exposed, shown.clicked, shown.converted,
        shown.charge, torch.where(empty, -1, ranking.top[..., slots]),
        torch.where(empty, blank, ranking.top_score[..., slots]), shown.relevance, shown.leaves, skipped,
    )  # fmt: skip
    market = torch.arange(index.shape[0], device=index.device).unsqueeze(1)
    for page, value in zip(pages, values, strict=True):
        page[market, index] = value
