"""Python tasks of the DAGs, one module per task."""
