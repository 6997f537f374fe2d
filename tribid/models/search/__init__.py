"""Weights of search ranking learnt from clicks, corrected for where results stood."""
