"""Cluster size, price and the requests sent to EMR. Pure functions: no AWS call."""
