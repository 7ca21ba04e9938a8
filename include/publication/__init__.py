"""The documents of a published run, and when runs are removed."""
