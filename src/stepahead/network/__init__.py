"""The LSTM and its hidden state, which is an argument and a result. Pure."""
