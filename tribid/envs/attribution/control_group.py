"""Control groups: which users a campaign leaves out, by a hash of who they are, so that its effect can be measured."""

from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.given import is_number


def held_out(user: ArrayLike, *, share: float = 0.1, salt: str = "") -> NDArray[np.bool_]:
    """Whether each user [...] (an index, or a text such as a service's id) is in the control group of campaign ``salt``.

    User 42 of a simulator and user "42" of a service are one. The same user and salt give the same answer everywhere and
    always; groups of two salts are independent; the group of a larger share holds that of a smaller. About a second for a
    million users. ``ValueError`` for a share outside 0 to 1, and for a salt that is no text.

    >>> held_out([42, 43], share=1.0, salt="spring").tolist()
    [True, True]
    >>> bool(held_out([42], salt="spring")[0] == held_out(["42"], salt="spring")[0])
    True
    """
    if not is_number(share) or not 0.0 <= share <= 1.0:
        raise ValueError(f"share is {share!r:.80}; allowed are numbers from 0 to 1")
    if not isinstance(salt, str):
        raise ValueError(f"salt is {salt!r:.80}; allowed is a text, the campaign's name")
    given = np.asarray(user)
    if given.dtype.kind not in "iuU":
        raise ValueError(f"user is of type {given.dtype}; allowed are whole numbers and texts")
    key = blake2b(salt.encode(), digest_size=32).digest()
    drawn = [_unit(str(one).encode(), key) < share for one in given.ravel().tolist()]
    return np.array(drawn, np.bool_).reshape(given.shape)


def _unit(name: bytes, key: bytes) -> float:
    """A number in [0, 1) with 53 bits."""
    return (int.from_bytes(blake2b(name, digest_size=8, key=key).digest(), "little") >> 11) / 2.0**53
