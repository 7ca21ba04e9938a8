"""The Spark wiring: parts of the inventory to the workers and accounts back, then files to write.

Spark spreads the work, tries it again where an executor is lost, and merges; the images' own rows stay out of the JVM.
Where no worker has been started yet, a single task's work can be done here instead.
What is done to an image is `worker`'s, to a part `parts`', to a file `final`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from pyspark import SparkContext, SparkFiles, TaskContext

from fruits_features.cache.compaction import Rewriting
from fruits_features.cache.selection import Selection
from fruits_features.cache.store import StoredPart
from fruits_features.extraction.batches import Worker
from fruits_features.extraction.families.onnx import Weights
from fruits_features.job.partition import Account, Part, fitted_moments
from fruits_features.job.progress import Reporter
from fruits_features.output.features_writer import FeaturesFile, Finish, WrittenFile
from fruits_features.pca.fit import Moments, merge_all

_A = TypeVar("_A")
_T = TypeVar("_T")


def describe(context: SparkContext, parts: Sequence[Part], worker: Worker, reporter: Reporter) -> Account:
    """Work off the parts, each in a task of its own; merge their accounts in a tree where there are many.

    A task that is tried again may have met an image that kills its process, so it minds that. Spark tries again
    `spark.task.maxFailures` times, by default 4; a master `local[N]` never does, `local[N,4]` does.
    """
    context.setJobDescription("describe the images")
    if worker.model:
        context.addFile(str(worker.model.path))

    def work_off(part: Part) -> Account:
        task = TaskContext.get()
        careful = task is not None and task.attemptNumber() > 0
        here = replace(worker, isolated=careful, model=_on_this_executor(worker.model))
        return part.work_off(here, partial(reporter.report, part.number))

    return context.parallelize(parts, len(parts)).map(work_off).treeReduce(Account.merge)


def driver(context: SparkContext) -> tuple[str, str]:
    """Tell how workers reach the driver, and its own address for that; Spark itself sets the host where nobody has."""
    conf = context.getConf()
    host = str(conf.get("spark.driver.host"))
    return host, str(conf.get("spark.driver.bindAddress", host))


def measure(context: SparkContext, selections: Sequence[Selection], store: str, *, here: bool) -> Moments | None:
    """Compute the moments of the features of stored rows, each selection in a task of its own, or a single one here."""

    def measured(selection: Selection) -> Moments | None:
        return merge_all(fitted_moments(table, None) for table in selection.read(store, ["features"]))

    if not selections:
        return None
    if here and len(selections) == 1:
        return measured(selections[0])
    context.setJobDescription("measure the features known already")

    def merged(one: Moments | None, other: Moments | None) -> Moments | None:
        return merge_all([one, other])

    return context.parallelize(selections, len(selections)).map(measured).treeReduce(merged)


def _on_this_executor(model: Weights | None) -> Weights | None:
    """Tell where Spark has put the model, which it fetches from the driver once an executor.

    A file, not a broadcast value: nothing but the loaded model is held in a worker's memory.
    """
    return model and replace(model, path=SparkFiles.get(Path(str(model.path)).name))


def rewrite(context: SparkContext, parts: Sequence[Rewriting], *, here: bool) -> list[StoredPart]:
    """Write rows of the store again, each part in a task of its own, or a single one here."""
    return _each(context, "put small volumes of the store together", parts, Rewriting.write, here=here)


def write_features(
    context: SparkContext, files: Sequence[FeaturesFile], finish: Finish, *, here: bool
) -> list[WrittenFile]:
    """Write the final files, each in a task of its own, or a single one here."""
    return _each(context, "project the features and write them", files, finish.write, here=here)


def _each(
    context: SparkContext, what: str, arguments: Sequence[_A], function: Callable[[_A], _T], *, here: bool
) -> list[_T]:
    if here and len(arguments) == 1:
        return [function(arguments[0])]
    context.setJobDescription(what)
    return context.parallelize(arguments, len(arguments)).map(function).collect()
