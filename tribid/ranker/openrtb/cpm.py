"""Prices per mille in exact arithmetic: integer micros and fractions, decimals only at the edge.

The specification asks for integer arithmetic wherever money is handled. Bids round down and what is owed rounds up, so
nobody ever bids or owes a fraction of a micro more than an impression earns.
"""

from decimal import Decimal
from fractions import Fraction

from tribid.envs.scenario import MICROS

MILLE = 1_000


def earned_per_mille(price_micros: int, chance: float) -> int:
    """What a thousand impressions earn, in micros, rounded down: each pays ``price_micros`` with that ``chance``.

    A click price of 0.50 at a click rate of 1 in 8 earns 62.50 per mille; charged by impression the chance is 1:

    >>> earned_per_mille(500_000, 0.125), earned_per_mille(2_500, 1.0)
    (62500000, 2500000)
    """
    numerator, denominator = chance.as_integer_ratio()
    return price_micros * MILLE * numerator // denominator


def spent_micros(cpm: Decimal, multiplier: Decimal = Decimal(1)) -> int:
    """What a billed impression costs, in micros of its currency, rounded up; ``multiplier`` people saw it.

    The worked example of OpenRTB 2.6, section 7.9.4:

    >>> spent_micros(Decimal("2.50"), Decimal("30.3"))
    75750
    """
    exact = Fraction(cpm) * Fraction(multiplier) * MICROS / MILLE
    return -(-exact.numerator // exact.denominator)


def exact(amount: float) -> Fraction:
    """The amount that a JSON number meant: the shortest decimal that reads as this float.

    >>> exact(0.1)
    Fraction(1, 10)
    """
    return Fraction(repr(float(amount)))


def in_currency(micros: int, rate: Fraction) -> Decimal:
    """Micros of the scenario's unit as an amount of a currency of which one unit is worth ``rate``; rounded down.

    >>> in_currency(1_234_567, Fraction("0.92"))
    Decimal('1.135801')
    """
    units = micros * rate.numerator // rate.denominator
    return Decimal(units).scaleb(-6)


def meets_floor(price: Decimal, rate: Fraction, floor: float, floor_rate: Fraction | None) -> bool:
    """Whether a price reaches a floor, exactly: each in a currency of which one unit of the scenario's is worth the rate.

    A floor in a currency of unknown rate (None) is met only if it is 0.

    >>> meets_floor(Decimal("4.44"), Fraction(1), 4.44, Fraction(1))
    True
    >>> meets_floor(Decimal("0.91"), Fraction("0.92"), 1, Fraction(1))
    False
    """
    if floor <= 0:
        return True
    return floor_rate is not None and Fraction(price) / rate >= exact(floor) / floor_rate
