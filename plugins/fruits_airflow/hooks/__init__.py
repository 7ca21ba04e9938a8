"""Clients of AWS services, configured for this pipeline."""
