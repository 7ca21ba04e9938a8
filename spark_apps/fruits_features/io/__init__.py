"""Bytes to and from S3, and Arrow tables to and from bytes."""
