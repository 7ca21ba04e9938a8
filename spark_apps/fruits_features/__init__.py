"""The Spark application: fruit photographs in, features and a projection out."""

__version__ = "0.1.0"
