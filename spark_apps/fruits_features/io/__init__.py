"""Reads and writes objects in S3, and converts Arrow tables to bytes and back."""
