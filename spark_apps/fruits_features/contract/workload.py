"""Constants that size a run's tasks and its cluster."""

IMAGE_OVERHEAD_BYTES = 40_000
"""Fixed cost of an image, in bytes that take as long to fetch and decode; see docs/measurements/constants.md."""

IMAGES_PER_PARTITION = 12_000
"""Approximate number of images per task. A task takes some seconds on one core.

Larger tasks leave cores idle at the end of a stage, and cost more when one is lost. Smaller tasks waste the time that
Spark needs to start each one; see docs/measurements/constants.md.
"""
