"""Candidate: the prototype's notebook with one improvement, a boto3 client per process in an imported module."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING

from benchmarks.speed.candidates import prototype
from benchmarks.speed.task import Done, Task

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def client() -> "S3Client":
    """Return the client of this process."""
    return prototype.client()


def session(task: Task) -> AbstractContextManager[Callable[[], Done]]:
    """Start Spark SQL."""
    return prototype.session(task, client)
