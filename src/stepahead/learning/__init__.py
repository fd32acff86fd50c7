"""When to fine-tune, how, and whether to adopt the result: drift, trigger, tuner, gate."""
