"""What runs on the nodes of a local cluster: Python, Spark and the step."""
