"""How fast images become features: this application beside other ways to do it. `python -m benchmarks.speed --help`."""
