"""Benchmarks: each prints its figures beside the peer's, measured interleaved in the same run. `make bench` runs them all."""
