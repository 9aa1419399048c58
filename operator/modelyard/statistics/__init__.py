"""Statistics on numpy arrays: metrics, intervals, verdicts, histograms. Pure: no I/O, no clock, no hidden randomness."""
