"""What follows a click in a shop: carts, and orders after a delay."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.worlds import Orders


def after_click(
    orders: Orders, seed: int, day: int, request: NDArray[np.int64], ad: NDArray[np.int64], clicked: NDArray[np.bool_],
    ordered: NDArray[np.bool_], category: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:  # fmt: skip
    """Whether each click came to a cart [E], and after how many hours an order came (NaN without one), float32 [E].

    Delays are exponential (Chapelle, KDD 2014) with a mean of their category.
    """
    draws = uniforms(seed, Stream.ORDER, day, request, ad)
    cart = clicked & (draws[:, 0] < np.where(ordered, orders.cart_with_order, orders.cart_without_order))
    spread = uniforms(0, Stream.ORDER, 0, 2**31 + category)[:, 0]
    mean = orders.delay_hours * np.exp(orders.delay_spread * (2.0 * spread - 1.0))
    delay = np.where(ordered, -np.log1p(-draws[:, 1]) * mean, np.nan)
    return cart, delay.astype(np.float32)
