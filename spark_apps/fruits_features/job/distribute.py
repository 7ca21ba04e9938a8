"""Where the job's tasks run: on Spark's workers, in the driver when there is little to do, or without Spark.

Spark distributes the tasks, retries them when an executor is lost, and merges their results. The images' own rows stay
out of the JVM.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import pyarrow as pa
from pyspark import SparkContext, SparkFiles, TaskContext

from fruits_features.contract.errors import TooManyNewImagesError
from fruits_features.extraction.batches import BatchExtractor
from fruits_features.extraction.families.onnx import Weights
from fruits_features.job.inventory import partition
from fruits_features.job.partition import Partition, PartitionResult
from fruits_features.job.progress import ProgressListener, ProgressReporter

StartSpark: TypeAlias = Callable[[], SparkContext]
"""Function that returns Spark's context, after waiting until it has started. Each call returns the same one."""

_A = TypeVar("_A")
_T = TypeVar("_T")


class Runner(Protocol):
    """Runs the tasks of the job."""

    @property
    def cores(self) -> int:
        """Number of tasks that run at once."""

    def split(self, inventory: pa.Table, overhead_bytes: int) -> Iterable[pa.Table]:
        """Split sorted rows of the inventory into one table per task.

        Args:
            inventory: Sorted rows of the inventory.
            overhead_bytes: Cost of an image besides its size (`contract.workload.image_overhead_bytes`).
        """

    def extract(
        self, partitions: Sequence[Partition], extractor: BatchExtractor, progress: ProgressListener
    ) -> PartitionResult:
        """Process the partitions, one task each."""

    def map(self, description: str, function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
        """Call a function with each argument, one task each.

        Args:
            description: Name of the work in Spark's UI.
            function: Function of one argument; can be pickled.
            arguments: At least one argument.
        """

    def reduce(
        self, description: str, function: Callable[[_A], _T], merge: Callable[[_T, _T], _T], arguments: Sequence[_A]
    ) -> _T:
        """Call a function with each argument, one task each, and merge the results in a tree."""


class SparkRunner:
    """Runs each task on Spark's workers.

    Args:
        context: Spark's context.
    """

    def __init__(self, context: SparkContext) -> None:
        self._context = context

    @property
    def cores(self) -> int:
        """Number of cores of all executors."""
        return int(self._context.defaultParallelism)

    def split(self, inventory: pa.Table, overhead_bytes: int) -> Iterable[pa.Table]:
        """Split rows into tables that take about equally long, a multiple of the cores."""
        return partition(inventory, self.cores, overhead_bytes)

    def extract(
        self, partitions: Sequence[Partition], extractor: BatchExtractor, progress: ProgressListener
    ) -> PartitionResult:
        """Process the partitions.

        Spark retries a task `spark.task.maxFailures` times, by default 4. A master `local[N]` never retries,
        `local[N,4]` does.
        """
        if extractor.model:
            self._context.addFile(str(extractor.model.path))
        task = _ExtractionTask(extractor, progress.listen(*_driver_address(self._context)))
        return self._reduce("extract features", task, PartitionResult.merge, partitions)

    def map(self, description: str, function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
        """Call a function with each argument."""
        self._context.setJobDescription(description)
        return self._context.parallelize(arguments, len(arguments)).map(function).collect()

    def reduce(
        self, description: str, function: Callable[[_A], _T], merge: Callable[[_T, _T], _T], arguments: Sequence[_A]
    ) -> _T:
        """Call a function with each argument and merge the results in a tree.

        The driver handles a single argument itself, since it would only wait while a worker starts.
        """
        if len(arguments) == 1:
            return function(arguments[0])
        return self._reduce(description, function, merge, arguments)

    def _reduce(
        self, description: str, function: Callable[[_A], _T], merge: Callable[[_T, _T], _T], arguments: Sequence[_A]
    ) -> _T:
        self._context.setJobDescription(description)
        return self._context.parallelize(arguments, len(arguments)).map(function).treeReduce(merge)


class DriverRunner:
    """Runs a single task in the driver, so that Spark's workers need not start for it; several go to Spark.

    Args:
        start: Starts Spark.
    """

    def __init__(self, start: StartSpark) -> None:
        self._start = start

    @property
    def cores(self) -> int:
        """Number of cores of all executors."""
        return SparkRunner(self._start()).cores

    def split(self, inventory: pa.Table, overhead_bytes: int) -> Iterable[pa.Table]:  # noqa: ARG002 - as the protocol
        """Return all rows as one table."""
        return [inventory]

    def extract(
        self, partitions: Sequence[Partition], extractor: BatchExtractor, progress: ProgressListener
    ) -> PartitionResult:
        """Process the only partition. Images are decoded in a child process, since the driver must not crash."""
        (only,) = partitions
        return only.process(replace(extractor, isolated=True), progress)

    def map(self, description: str, function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
        """Call a function with each argument."""
        if len(arguments) == 1:
            return [function(arguments[0])]
        return SparkRunner(self._start()).map(description, function, arguments)

    def reduce(
        self, description: str, function: Callable[[_A], _T], merge: Callable[[_T, _T], _T], arguments: Sequence[_A]
    ) -> _T:
        """Call a function with each argument and merge the results."""
        if len(arguments) == 1:
            return function(arguments[0])
        return SparkRunner(self._start()).reduce(description, function, merge, arguments)


class SerialRunner:
    """Runs all tasks in this process, one after the other, without Spark.

    Args:
        new_below: Number of new images from which on the run ends; `None` for no limit.
    """

    cores = 1

    def __init__(self, new_below: int | None = None) -> None:
        self._new_below = new_below

    def check_new(self, images: int) -> None:
        """Raise an error if there are too many new images.

        Raises:
            TooManyNewImagesError: There are too many.
        """
        if self._new_below is not None and images >= self._new_below:
            raise TooManyNewImagesError(
                f"{images:,} images are new, and a run without a cluster extracts fewer than {self._new_below:,}. The "
                "feature cache has lost images since they were counted."
            )

    def split(self, inventory: pa.Table, overhead_bytes: int) -> Iterable[pa.Table]:
        """Split rows into tables that take some seconds each."""
        return partition(inventory, self.cores, overhead_bytes)

    def extract(
        self, partitions: Sequence[Partition], extractor: BatchExtractor, progress: ProgressListener
    ) -> PartitionResult:
        """Process the partitions. Images are decoded in a child process, since this one must not crash."""
        isolated = replace(extractor, isolated=True)
        return reduce(PartitionResult.merge, (one.process(isolated, progress) for one in partitions))

    def map(self, description: str, function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:  # noqa: ARG002 - as the protocol
        """Call a function with each argument."""
        return [function(argument) for argument in arguments]

    def reduce(
        self,
        description: str,  # noqa: ARG002 - nobody sees it without Spark
        function: Callable[[_A], _T],
        merge: Callable[[_T, _T], _T],
        arguments: Sequence[_A],
    ) -> _T:
        """Call a function with each argument and merge the results."""
        return reduce(merge, map(function, arguments))


@dataclass(frozen=True)
class _ExtractionTask:
    """Task of an executor for one partition.

    Args:
        extractor: Extracts the features.
        reporter: Reports the progress to the driver.
    """

    extractor: BatchExtractor
    reporter: ProgressReporter

    def __call__(self, partition: Partition) -> PartitionResult:
        """Process the partition. A retry isolates the decoder: an image may have crashed the first attempt."""
        task = TaskContext.get()
        is_retry = task is not None and task.attemptNumber() > 0
        extractor = replace(self.extractor, isolated=is_retry, model=_local_model(self.extractor.model))
        return partition.process(extractor, self.reporter)


def _local_model(model: Weights | None) -> Weights | None:
    """Return the model with its path on this executor, where Spark has put the file once.

    It is a file and not a broadcast value, so that a worker's memory holds only the loaded model.
    """
    return model and replace(model, path=SparkFiles.get(Path(str(model.path)).name))


def _driver_address(context: SparkContext) -> tuple[str, str]:
    """Return the host name by which workers reach the driver, and the address to bind. Spark sets the host itself."""
    conf = context.getConf()
    host = str(conf.get("spark.driver.host"))
    return host, str(conf.get("spark.driver.bindAddress", host))
