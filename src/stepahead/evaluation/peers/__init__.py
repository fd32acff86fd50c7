"""Forecasters that a user would think of, in the same prequential loop on the same rows."""
