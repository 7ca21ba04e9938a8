"""Compare the speed of this application with other ways to extract features. `python -m benchmarks.speed --help`."""
