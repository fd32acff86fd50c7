"""Raw value to model units and back: cadence, difference, standardize, stationarity, time features. Pure."""
