"""The purchase intent index: how near a consumer is to buying from a brand, from eight behaviours."""
