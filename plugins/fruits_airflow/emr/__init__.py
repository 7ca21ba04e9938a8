"""EMR clusters and steps: operators, sensors, triggers and diagnosis."""
