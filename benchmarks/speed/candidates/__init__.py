"""Ways to extract features from images in S3 to Parquet. Each module has a context manager `session`.

`session(task)` starts the environment of the work (a JVM, a cluster) and yields a function. The function runs one job,
from the inventory to the closed Parquet, and returns the number of extracted images. Imports and processes that it
starts count as time of the job.
"""
