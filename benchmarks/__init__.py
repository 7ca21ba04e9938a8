"""Benchmarks that are run by hand: recognition with the features, speed and memory."""
