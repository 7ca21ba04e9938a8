"""Reports damaged files of the feature cache from tasks to the driver, which then runs without their segments.

An error of a task would reach the driver as text, after Spark has tried the task several times.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fruits_features.cache.store import DamagedCacheError
from fruits_features.io.blocks import DamagedFileError

_A = TypeVar("_A")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Damage:
    """Damaged files that tasks have found, as the result of these tasks."""

    files: tuple[DamagedFileError, ...]


@dataclass(frozen=True)
class ReportDamage(Generic[_A, _T]):
    """Calls a function, and returns `Damage` if it finds a damaged file.

    Args:
        function: Function of one argument; can be pickled.
    """

    function: Callable[[_A], _T]

    def __call__(self, argument: _A) -> _T | Damage:
        """Return the function's result."""
        try:
            return self.function(argument)
        except DamagedFileError as error:
            return Damage((error,))


@dataclass(frozen=True)
class MergeUndamaged(Generic[_T]):
    """Merges two results of `ReportDamage`.

    Args:
        merge: Merges two results of its function.
    """

    merge: Callable[[_T, _T], _T]

    def __call__(self, one: _T | Damage, other: _T | Damage) -> _T | Damage:
        """Return the merged result, or the damage of both."""
        if isinstance(one, Damage) or isinstance(other, Damage):
            return Damage(tuple(file for part in (one, other) if isinstance(part, Damage) for file in part.files))
        return self.merge(one, other)


def undamaged(results: Iterable[_T | Damage]) -> list[_T]:
    """Return the results of tasks.

    Raises:
        DamagedCacheError: A task has found a damaged file.
    """
    kept: list[_T] = []
    damaged: list[DamagedFileError] = []
    for result in results:
        if isinstance(result, Damage):
            damaged.extend(result.files)
        else:
            kept.append(result)
    if damaged:
        raise DamagedCacheError.of(damaged)
    return kept
