"""Logs and counters of the running program."""
