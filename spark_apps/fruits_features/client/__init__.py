"""What users install: a published run as an object, and the command line `fruits`."""
