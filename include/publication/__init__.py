"""Documents of a published run, and retention of runs."""
