"""The Spark application: fruit photographs in, features and a projection out."""
