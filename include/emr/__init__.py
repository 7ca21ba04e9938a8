"""Cluster size, cost and the requests to EMR, as functions without AWS calls."""
