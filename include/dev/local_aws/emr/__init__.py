"""The local EMR: moto's, with clusters and steps that run."""
