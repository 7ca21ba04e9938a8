"""The Spark application: extracts features from photographs of fruit and reduces them by a PCA."""

__version__ = "0.1.0"
