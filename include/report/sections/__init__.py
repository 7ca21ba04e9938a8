"""Sections of the report. Each module computes the figures of one section."""
