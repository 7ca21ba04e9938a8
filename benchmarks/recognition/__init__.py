"""Benchmarks of recognition: feature families, network, recogniser and search of neighbours."""
