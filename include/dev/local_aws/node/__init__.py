"""Nodes of a local cluster: their Python, Spark and processes."""
