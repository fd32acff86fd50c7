"""Past one machine: shards of series, each with its own engine and journal, placed on many processes by Ray."""
