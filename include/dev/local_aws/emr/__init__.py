"""Local EMR: moto's API, extended by clusters and steps that run."""
