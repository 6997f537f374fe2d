"""Ledgers: money in whole micros, double entry, durable before it is acknowledged."""
