"""Settlement by blocks is settlement request by request: every page, every micro, every count."""

import pytest
import torch

from tribid.gpu import settle as module
from tribid.gpu.settle import settle

SCARCE = {"generated__budget_share": 0.05, "world__traffic__requests": 700}


def play(markets, **how):
    while markets.tick < markets.world.n_ticks:
        markets.step(**how)


def test_every_rule_settles_as_the_host_does(followed, rules):
    play(followed(settle, **(SCARCE | rules)))


def test_the_default_feed_settles_as_the_host_does(followed):
    markets = followed(settle, "feed", 3, world__traffic__requests=3000, world__traffic__ticks=12)
    play(markets)
    assert bool((markets.left == 0).any()), "no budget ran out, so hard budgets were not tested"


@pytest.mark.parametrize("block", [*(pytest.param(size, marks=pytest.mark.slow) for size in (1, 2, 7)), 1000])
def test_the_size_of_a_block_changes_nothing(followed, block):
    play(followed(settle, options={"block": block}, **SCARCE))


def test_a_tick_may_come_in_several_batches(followed):
    play(followed(settle, **SCARCE), batches=3)


def test_a_tick_without_requests_changes_nothing(followed):
    markets = followed(settle, world__traffic__curve=[1, 0, 1, 1, 1, 1, 1, 1])
    play(markets)
    assert markets.plan.most_requests(1) == 0


def decided_blocks(monkeypatch):
    """A list that gets, for each block decided from here on, whether it drew for ties."""
    blocks, original = [], module._decide
    monkeypatch.setattr(module, "_decide", lambda *given: blocks.append(given[-1]) or original(*given))
    return blocks


def test_equal_scores_are_drawn_for_a_block_at_a_time(followed, rule_sets, monkeypatch):
    blocks = decided_blocks(monkeypatch)
    rich = [{"name": name, "budget": 1e6, "base_bid": 0.5} for name in "abcd"]
    visits = {"world__traffic__session_length": 1, "world__traffic__requests": 2000}
    markets = followed(settle, options={"block": 64}, **(rule_sets["equal scores"] | visits | {"advertisers": rich}))
    markets.step()
    # Every row ties: the block without draws stops at its first row, those that draw go on to their end.
    assert blocks == [False] + [True] * -(-markets.plan.most_requests(0) // 64)


def test_charges_that_change_no_bid_do_not_end_a_block(followed, monkeypatch):
    blocks = decided_blocks(monkeypatch)
    rich = {"generated__budget_share": 1e6, "world__traffic__session_length": 1, "world__traffic__requests": 700}
    markets = followed(settle, options={"block": 16}, **rich)
    markets.step()
    assert len(blocks) == -(-markets.plan.most_requests(0) // 16)
    assert any(host.total.spend_micros.any() for host in markets.hosts)


def test_the_arguments_stay_as_they_are(followed):
    markets = followed(settle, **SCARCE)
    before = markets.left
    kept = before.clone()
    markets.step()
    assert torch.equal(before, kept) and not torch.equal(markets.left, kept)
