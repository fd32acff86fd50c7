"""Simple forecasters and the mixture that weighs them against the LSTM. Pure."""
