"""Waiting for images in S3."""
