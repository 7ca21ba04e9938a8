"""The Spark application: extracts features from photographs of fruit and reduces them by a PCA."""

__version__ = "0.1.0.dev0"
"""Version of the project, which `run.json` and the Parquet files carry. `.dev0`: not released (CONTRIBUTING.md)."""
