"""Reads the headers of image files: one module per format."""
