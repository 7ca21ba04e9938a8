"""The bodies of the DAGs' Python tasks, one module per task."""
