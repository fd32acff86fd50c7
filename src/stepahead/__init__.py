"""stepahead: streaming one-step-ahead forecasts for live sensor feeds, learned while it runs."""
