"""Ways to turn images in S3 into features in Parquet: one module each, with a context manager `session`.

`session(task)` starts what has to be there before any work (a JVM, a cluster) and gives a function; that does the work
once, from reading the inventory to closing the Parquet, and returns how many images it described. What it imports or
starts only then counts as its own time.
"""
