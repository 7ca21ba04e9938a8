"""The files that a run publishes."""
