"""Errors that end a run. `__main__` imports them without loading the rest of the application."""

from typing import ClassVar


class RunError(Exception):
    """The run cannot be completed. The message is written for users and names the fix."""

    exit_code: ClassVar[int] = 1
    """Exit code of the application."""


class TooManyNewImagesError(RunError):
    """More images are new than a run without Spark may extract."""

    exit_code = 3
