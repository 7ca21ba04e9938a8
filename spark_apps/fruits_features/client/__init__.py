"""Client of published runs: a run as an object, and the command line `fruits`."""
