"""What the DAG and the application share: arguments, layout, reasons, families. Standard library only."""
