"""The Spark job: the order of the stages, and how they are distributed."""
