"""The engine: readings in, forecasts out. No I/O, no clock, no threads."""
