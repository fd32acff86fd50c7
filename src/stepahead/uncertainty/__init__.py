"""Conformal intervals and the anomaly flag. Pure."""
