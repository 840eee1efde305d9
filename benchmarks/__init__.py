"""Speed, as ratios to minimal programs in the same run: `python -m benchmarks`."""
