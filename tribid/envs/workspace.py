"""Working memory of the kernels, kept for each thread: a market's tick allocates none of it anew."""

import threading

from tribid.auctions.ocpc_block import OcpcTile, new_tile
from tribid.envs.decision import Desk, new_desk
from tribid.envs.settlement import Block, new_block

_KEPT = 4
_own = threading.local()

Workspace = tuple[Desk, OcpcTile, Block]


def workspace(candidates: int, slots: int) -> Workspace:
    """This thread's desk, tile and block for markets of this size; its last few sizes are kept."""
    kept: dict[tuple[int, int], Workspace] = _own.__dict__.setdefault("kept", {})
    size = (candidates, slots)
    if size not in kept:
        while len(kept) >= _KEPT:
            del kept[next(iter(kept))]
        kept[size] = (new_desk(candidates, slots), new_tile(candidates), new_block(slots))
    return kept[size]
