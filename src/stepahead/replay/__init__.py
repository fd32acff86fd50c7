"""Windows of past steps, the buffer that keeps them and its sampler. Pure."""
