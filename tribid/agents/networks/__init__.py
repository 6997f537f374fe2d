"""Networks that serve learnt policies: each answers a row with the same bits in any batch, on any machine."""
