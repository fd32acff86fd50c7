"""The running program: the only room that knows everybody."""
