"""Who a bid request is about, as an index into the scenario's population: a stand-in for a look-up of real users.

A name that is a number within the population is that user; any other is hashed to one, the same every time. Where the law
or the user forbids to tell people apart (``regs.coppa``, GDPR without consent, do-not-track), everybody is the same user.
Nothing of this is logged.
"""

import hashlib

from tribid.ranker.openrtb.messages import BidRequest


def name_of(request: BidRequest) -> str | None:
    """The name that the request may be answered by, or None: the buyer's own id, the exchange's, the device's."""
    user, device, regs = request.user, request.device, request.regs
    if regs is not None and (regs.coppa == 1 or (regs.gdpr == 1 and (user is None or not user.consent))):
        return None
    if device is not None and (device.dnt == 1 or device.lmt == 1):
        return None
    names = ("", "") if user is None else (user.buyeruid, user.id)
    return next((name for name in (*names, "" if device is None else device.ifa) if name), None)


def user_of(name: str | None, count: int, key: bytes = b"") -> int:
    """The index below ``count`` of a name; ``key`` (up to 64 bytes) makes the hash one's own.

    >>> user_of("7", 50), 0 <= user_of("a1b2", 50) < 50
    (7, True)
    """
    if name is not None and name.isascii() and name.isdigit() and len(name) <= 10 and int(name) < count:
        return int(name)
    content = b"\0" if name is None else b"\1" + name.encode("utf-8", "surrogatepass")
    drawn = hashlib.blake2b(content, digest_size=8, key=key, person=b"tribid-user").digest()
    return int.from_bytes(drawn, "big") % count
