"""Decodes images and normalizes them for the feature families."""
