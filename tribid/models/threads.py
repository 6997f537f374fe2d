"""How many threads torch computes with, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many inside a ``with`` block, as many as before behind it."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(requests: int) -> int:
    """How many to predict with: one for a lone request, whose few numbers take less time than threads to wait for others.

    On a machine that is busy, such waiting takes ten times what the prediction does.
    """
    return 1 if requests <= 1 else torch.get_num_threads()
