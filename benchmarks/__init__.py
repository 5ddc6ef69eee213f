"""Paired measurements against other people's models; `python -m benchmarks` runs them all."""
