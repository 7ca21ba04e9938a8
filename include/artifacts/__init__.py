"""The files that a cluster installs and runs, named by content hash."""
