"""Waiting for images in S3, and the pointer to the published run."""
