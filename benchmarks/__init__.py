"""Benchmarks: `make bench SUITE=stream`, or `python -m benchmarks --help`. What each figure means is in README.md."""
