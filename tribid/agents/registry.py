"""Bidders by name, for the command line and for scenarios of who meets whom."""

from collections.abc import Callable

from tribid.agents.bidder import Bidder, BidderSpace
from tribid.agents.control.bslb import Bslb
from tribid.agents.control.mpid import MultivariablePid
from tribid.agents.control.ortb import Ortb
from tribid.agents.control.spend_curve import Mystique, TaPid
from tribid.agents.control.throttling import Throttling
from tribid.agents.control.waterlevel import Waterlevel
from tribid.agents.pacing import DualPacing
from tribid.agents.pid import Pid
from tribid.agents.policy_file import load_policy
from tribid.agents.rules import FixedMultiplier, Off, RandomBidder, Truthful

BIDDERS: dict[str, Callable[[BidderSpace], Bidder]] = {
    "off": lambda space: Off(space=space),
    "random": lambda space: RandomBidder(space=space),
    "truthful": lambda space: Truthful(space=space),
    "fixed": lambda space: FixedMultiplier(1.0, space=space),
    "pid": lambda space: Pid(space=space),
    "linear": lambda space: Truthful(space=space),
    "ortb": lambda space: Ortb(space=space),
    "bslb": lambda space: Bslb(space=space),
    "throttling": lambda space: Throttling(space=space),
    "waterlevel": lambda space: Waterlevel(space=space),
    "mpid": lambda space: MultivariablePid(space=space),
    "ta_pid": lambda space: TaPid(space=space),
    "mystique": lambda space: Mystique(space=space),
    "dual_pacing": lambda space: DualPacing(space=space),
    "additive_pacing": lambda space: DualPacing(space=space, update="additive"),
    "surplus_pacing": lambda space: DualPacing(space=space, utility="surplus"),
}
"""Makers of bidders by name."""


def make_bidder(name: str, space: BidderSpace) -> Bidder:
    """The bidder of that name; ``fixed:0.8`` sets the multiplier, and a path to ``*.safetensors`` loads a policy file.

    >>> make_bidder("fixed:0.5", BidderSpace.of("tiny")).multiplier
    0.5
    """
    kind, colon, argument = name.partition(":")
    if kind == "fixed" and colon:
        return FixedMultiplier(_number(name, argument), space=space)
    if name.endswith(".safetensors"):
        return load_policy(name, space=space)
    if name in BIDDERS:
        return BIDDERS[name](space)
    raise ValueError(
        f"no bidder named {name!r}; choose {', '.join(BIDDERS)}, fixed:MULTIPLIER, or a path to a policy file "
        "ending in .safetensors"
    )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"bidder {name!r} has no number after the colon; allowed is, for example, fixed:0.8") from None
