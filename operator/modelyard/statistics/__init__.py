"""Statistics on numpy arrays: metrics, intervals, verdicts, histograms. No I/O, no clock, no hidden randomness."""
