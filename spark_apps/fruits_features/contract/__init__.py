"""The contract between the DAG and the application. Uses the standard library only."""
