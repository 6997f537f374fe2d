"""``Roster``: which advertisers a bid request lets in, as a whole, on one of its imps, and under which deals.

Blocks are looked up, not searched: a request that blocks ten thousand domains costs ten thousand dictionary look-ups,
however many advertisers there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from tribid.ranker.openrtb.config import BidderConfig, Buyer
from tribid.ranker.openrtb.messages import Banner, BidRequest, Deal, Imp

Key = TypeVar("Key")


def domains_over(domain: str) -> Iterator[str]:
    """A domain and all that it lies in, lower case: blocking any of them blocks it.

    >>> list(domains_over("Shop.Ford.com"))
    ['shop.ford.com', 'ford.com', 'com']
    """
    parts = domain.lower().strip(".").split(".")
    return (".".join(parts[first:]) for first in range(len(parts)))


def categories_over(category: str) -> Iterator[str]:
    """A content category and, in the IAB's first taxonomies, the category that it lies in.

    >>> list(categories_over("IAB2-3")), list(categories_over("53"))
    (['IAB2-3', 'IAB2'], ['53'])
    """
    yield category
    if "-" in category:
        yield category.rsplit("-", 1)[0]


class Roster:
    """Advertisers by index (the ranker's) under the names by which publishers let them in or keep them out."""

    def __init__(self, config: BidderConfig, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.buyers: tuple[Buyer, ...] = tuple(config.buyers[name] for name in names)
        self.seats: tuple[str, ...] = tuple(config.seat_of(name) for name in names)
        self._secure = config.url.startswith("https://")
        self._everybody = frozenset(range(len(self.names)))
        self._by_domain: dict[str, set[int]] = defaultdict(set)
        self._by_category: dict[tuple[int, str], set[int]] = defaultdict(set)
        self._by_taxonomy: dict[int, set[int]] = defaultdict(set)
        self._by_seat: dict[str, set[int]] = defaultdict(set)
        self._by_bundle: dict[str, set[int]] = defaultdict(set)
        self._by_language: dict[str, set[int]] = defaultdict(set)
        self._silent = frozenset(ad for ad, buyer in enumerate(self.buyers) if not buyer.cat)
        for ad, buyer in enumerate(self.buyers):
            self._by_seat[self.seats[ad]].add(ad)
            self._by_language[buyer.language or ""].add(ad)
            if buyer.bundle is not None:
                self._by_bundle[buyer.bundle].add(ad)
            for domain in buyer.adomain:
                for over in domains_over(domain):
                    self._by_domain[over].add(ad)
            for category in buyer.cat:
                self._by_taxonomy[buyer.cattax].add(ad)
                for over in categories_over(category):
                    self._by_category[buyer.cattax, over].add(ad)

    def allowed(self, request: BidRequest) -> frozenset[int]:
        """The advertisers that the request's own lists let in and that fit at least one of its imps."""
        allowed = self._everybody - _union(self._by_domain, (name.lower().strip(".") for name in request.badv))
        if request.bapp:
            allowed -= _union(self._by_bundle, request.bapp)
        if request.wseat:
            allowed &= _union(self._by_seat, request.wseat)
        if request.bseat:
            allowed -= _union(self._by_seat, request.bseat)
        if request.acat or request.bcat:
            allowed &= self._in_categories(request)
        languages = (*request.wlang, *(tag.split("-")[0] for tag in request.wlangb))
        if languages:  # a creative that says nothing of its language has none, and is let through
            allowed &= _union(self._by_language, (*(name.lower() for name in languages), ""))
        if any(_has_no_terms(imp) for imp in request.imp):
            return allowed
        return frozenset(ad for ad in allowed if any(self.fits(ad, imp) for imp in request.imp))

    def is_everybody(self, allowed: frozenset[int]) -> bool:
        """Whether nobody was kept out."""
        return len(allowed) == len(self.names)

    def fits(self, ad: int, imp: Imp) -> bool:
        """Whether the advertiser's creative may be shown on the imp; prices and deals are another matter."""
        buyer, place = self.buyers[ad], imp.banner if imp.banner is not None else imp.native
        if place is None or not is_place(imp):
            return False
        if not set(buyer.attr).isdisjoint(place.battr):
            return False
        if imp.secure and not (self._secure and buyer.landing.scheme == buyer.image.scheme == "https"):
            return False
        if isinstance(place, Banner):
            if place.mimes and buyer.mime not in place.mimes:
                return False
            if buyer.w is not None and not is_size_allowed(place, buyer.w, buyer.h):
                return False
        return imp.pmp is None or not imp.pmp.private_auction or bool(self.deals(ad, imp))

    def deals(self, ad: int, imp: Imp) -> list[Deal]:
        """The imp's deals that this advertiser, in its seat and under its domain, may use."""
        if imp.pmp is None:
            return []
        buyer, seat = self.buyers[ad], self.seats[ad]
        return [
            deal
            for deal in imp.pmp.deals
            if deal.id in buyer.deals
            and (not deal.wseat or seat in deal.wseat)
            and (not deal.wadomain or are_domains_allowed(buyer.adomain, deal.wadomain))
        ]

    def _in_categories(self, request: BidRequest) -> set[int]:
        """Those whose categories can be compared with the request's, and pass; who names none passes blocks only."""
        passing = set(self._by_taxonomy.get(request.cattax, ()))
        if request.acat:
            allowed = frozenset(request.acat)
            passing = {ad for ad in passing if are_categories_allowed(self.buyers[ad].cat, allowed)}
        else:
            passing |= self._silent
        return passing - _union(self._by_category, ((request.cattax, name) for name in request.bcat))


def is_place(imp: Imp) -> bool:
    """Whether the imp can be bid for: a banner or a native ad for one user, for whom a page's money is held."""
    return (imp.banner is not None or imp.native is not None) and (imp.qty is None or imp.qty.multiplier == 1)


def are_domains_allowed(domains: Sequence[str], allowed: Iterable[str]) -> bool:
    """Whether each domain is one of the allowed, or lies in one."""
    listed = {name.lower().strip(".") for name in allowed}
    return all(not listed.isdisjoint(domains_over(domain)) for domain in domains)


def are_categories_allowed(categories: Sequence[str], allowed: frozenset[str]) -> bool:
    """Whether each category is one of the allowed, or lies in one; one that names none is not allowed."""
    return bool(categories) and all(not allowed.isdisjoint(categories_over(name)) for name in categories)


def is_size_allowed(banner: Banner, w: int, h: int | None) -> bool:
    """Whether a creative of this size may be shown; a banner that names no size takes any.

    >>> is_size_allowed(Banner(w=300, h=250), 300, 250), is_size_allowed(Banner(), 1, 1)
    (True, True)
    """
    sizes = {(size.w, size.h) for size in banner.format if size.w is not None and size.h is not None}
    if banner.w is not None and banner.h is not None:
        sizes.add((banner.w, banner.h))
    return not sizes or (w, h) in sizes


def _has_no_terms(imp: Imp) -> bool:
    """Whether the imp takes every banner or native ad alike, so that no advertiser needs to be looked at."""
    place = imp.banner if imp.banner is not None else imp.native
    if place is None or place.battr or imp.secure or imp.pmp is not None or imp.qty is not None:
        return False
    return not isinstance(place, Banner) or not (place.mimes or place.format or place.w is not None)


def _union(index: Mapping[Key, set[int]], keys: Iterable[Key]) -> set[int]:
    found: set[int] = set()
    for key in keys:
        found |= index.get(key, set())
    return found
