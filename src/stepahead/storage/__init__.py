"""Journal and snapshots: the only room that knows the disk."""
