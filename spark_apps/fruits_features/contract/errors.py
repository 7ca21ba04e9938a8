"""Base class of the errors that end a run. `__main__` imports it without loading the rest of the application."""


class RunError(Exception):
    """The run cannot be completed. The message is written for users and names the fix."""
