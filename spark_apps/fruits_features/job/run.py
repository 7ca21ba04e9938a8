"""The job: read, recall, describe, account, reduce, write."""

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import SparkContext

from fruits_features.cache import compaction
from fruits_features.cache.store import Known, Store, Volume
from fruits_features.contract.arguments import Arguments, Refit
from fruits_features.contract.errors import RunError
from fruits_features.contract.layout import FITTED_SPLIT, OUTCOME, PORTABLE, RunLayout
from fruits_features.extraction.batches import Worker
from fruits_features.extraction.families.onnx import Weights, fetched
from fruits_features.io import arrow, object_store
from fruits_features.job import distribute, spark_ml
from fruits_features.job.inventory import cut, is_little, read_inventory
from fruits_features.job.outcome import Laps, Outcome, Seconds
from fruits_features.job.partition import Part
from fruits_features.job.progress import Progress, Tally
from fruits_features.output.features_writer import Finish, WrittenFile, plan_files, write_quarantine
from fruits_features.output.snapshot import Assembly, Recall
from fruits_features.pca import refit
from fruits_features.pca.fit import Moments, ReductionError, fit, merge_all
from fruits_features.pca.refit import Choice
from fruits_features.projection import Projection
from fruits_features.schemas import stored_columns

_log = logging.getLogger(__name__)


class JobError(RunError):
    """Too much was quarantined, or what was written is not what was to be written."""


@dataclass(frozen=True)
class _Run:
    """One run while it goes on.

    Args:
        start: waits for Spark's context: what does without it goes on while Spark starts.
        arguments: what is asked for.
        model: of the family `onnx`, where it is one of them.
        store: of described images.
        published: the published projection, if the run may keep it.
        fitted_split: the split that the projection is fitted on; `None` for all images.
        alone: there is so little that the driver describes it itself, and Spark's workers need not start for that.
    """

    start: Callable[[], SparkContext]
    arguments: Arguments
    model: Weights | None
    store: Store
    published: Projection | None
    fitted_split: str | None
    alone: bool

    @property
    def layout(self) -> RunLayout:
        """Where the run's results go."""
        return RunLayout(self.arguments.output)

    @property
    def stored_columns(self) -> list[str]:
        """Names of the columns of the store's files."""
        return [column.name for column in stored_columns(include_pixels=self.arguments.include_pixels)]

    @property
    def kept(self) -> Projection | None:
        """The published projection, if it is kept whatever today's images are."""
        return self.published if self.arguments.refit == Refit.NEVER else None

    @property
    def context(self) -> SparkContext:
        """Spark's, once it stands."""
        return self.start()

    @property
    def cores(self) -> int:
        """How many tasks run at once."""
        return int(self.context.defaultParallelism)


def run(start: Callable[[], SparkContext], arguments: Arguments) -> Outcome:
    """Describe and reduce every inventoried image.

    Args:
        start: waits for Spark's context, the same at each call.
        arguments: what is asked for.

    Raises:
        InventoryError: when the inventory cannot be worked on.
        InvalidArgumentsError: when more components are asked for than there are features.
        JobError: when the run cannot be completed as asked.
        ModelError: when the model cannot be used.
        RefitError: when the published projection was to be kept and cannot be.
        ReductionError: when the images are too few or too alike for what was asked.
        StoreError: when the store of described images is damaged.
    """
    laps = Laps()
    with fetched(arguments.onnx_model) as model:
        if model:
            arguments.check_k(model.dimension)
        try:
            store, published, recall = _read(arguments, model)
            split, alone = _fitted_split(recall.inventory), recall.reused > 0 and is_little(recall.wanted)
            return _work(_Run(start, arguments, model, store, published, split, alone), recall, laps)
        finally:
            object_store.remove_folder(RunLayout(arguments.output).staging)


def _read(arguments: Arguments, model: Weights | None) -> tuple[Store, Projection | None, Recall]:
    """Read what is to be done and what is known of it; remove what an earlier try of the run has left."""
    layout = RunLayout(arguments.output)
    store = Store.of(arguments.store or layout.staging, arguments, model)
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read_inventory, arguments.inventory)
        finding = threads.submit(refit.published, arguments, model)
        inventory, published = reading.result(), finding.result()
        list(threads.map(object_store.remove_folder, (layout.staging, layout.features, layout.quarantine)))
    return store, published, Recall.of(inventory, store.recall())


def _work(run: _Run, recall: Recall, laps: Laps) -> Outcome:
    if not run.alone:
        run.start()
    start_s, inventory = laps.lap(), recall.inventory
    with Progress(Tally(run.arguments.run, inventory.num_rows, recall.reused), run.arguments.output) as progress:
        fresh, moments = _describe(run, recall, progress)
        describe_s = laps.lap()
        assembly = recall.completed(fresh)
        quarantine = write_quarantine(assembly.quarantine(run.arguments.bucket), run.layout.quarantine, run.arguments)
        _check_quarantine(assembly, run.layout, run.arguments.max_quarantine_share)
        progress.begin_reduction()
        choice = _projection(run, assembly, moments)
        projection = choice.projection
        files = plan_files(assembly.described, assembly.files, run.cores)
        finish = Finish(run.store.folder, run.layout.features, projection, run.arguments)
        with ThreadPoolExecutor(1) as thread:  # while the workers write
            smaller = thread.submit(_write_smaller, run, projection, quarantine)
            features = distribute.write_features(run.context, files, finish, here=run.alone)
            volumes = smaller.result()
        _check_count(inventory.num_rows, [*features, quarantine])
        _check_written(run.layout.features, features)
        _put_together(run, volumes)
        outcome = _outcome(assembly, recall.reused, choice, Seconds(start_s, describe_s, laps.lap()))
        object_store.write_bytes(run.layout.prefix, OUTCOME, outcome.to_bytes())
    return outcome


def _describe(run: _Run, recall: Recall, progress: Progress) -> tuple[Known, Moments | None]:
    """Describe what no earlier run has, and add it to the store: it is kept whatever becomes of this run.

    A volume that would tell no later run anything, as all of it was rejected for passing reasons, is not completed.
    """
    wanted = recall.wanted
    if not wanted.num_rows:
        return Known.nothing(), None
    name = run.store.begin(run.arguments.run)
    parts = [
        Part(number, arrow.to_bytes(rows), f"{run.store.folder}/{name}", run.fitted_split, measured=not run.kept)
        for number, rows in enumerate([wanted] if run.alone else cut(wanted, run.cores))
    ]
    worker = _worker(run.arguments, run.model)
    if run.alone:
        (part,) = parts
        account = part.work_off(replace(worker, isolated=True), partial(progress.count, part.number))
    else:
        account = distribute.describe(run.context, parts, worker, progress.listen(*distribute.driver(run.context)))
    volume = Volume(name, run.arguments.run, account.parts)
    fresh = run.store.read([volume])
    if fresh.lasting().index.num_rows:
        run.store.complete(volume)
    return fresh, account.moments


def _projection(run: _Run, assembly: Assembly, moments: Moments | None) -> Choice:
    """Fit the projection, or keep the published one.

    Args:
        run: the run.
        assembly: its images.
        moments: of those to fit that it has described itself.
    """
    if run.kept:
        return refit.keep(run.kept, run.arguments, "--refit is never.")
    is_fitted = assembly.of_split(run.fitted_split)
    selections = assembly.select(pc.and_(assembly.of_earlier_runs, is_fitted), run.cores)
    whole = merge_all([distribute.measure(run.context, selections, run.store.folder, here=run.alone), moments])
    if whole is None:
        raise ReductionError(
            f"None of the images in {FITTED_SPLIT} could be described, so there is nothing to fit; "
            f"see {run.layout.quarantine}."
        )
    wish = run.arguments
    found = fit(whole, wish.features, k=wish.k, explained_variance=wish.explained_variance)
    categories = tuple(sorted(assembly.described.filter(is_fitted)["category"].unique().to_pylist()))
    choice = refit.choose(replace(found, model=run.model, categories=categories), whole, run.published, wish)
    _log.info("The projection is %s. %s", "kept" if choice.kept_from else "fitted anew", choice.why)
    return choice


def _write_smaller(run: _Run, projection: Projection, quarantine: WrittenFile) -> Sequence[Volume]:
    """Do all that is left to do but for the features; returns the store's volumes that are to be put together."""
    object_store.write_bytes(run.layout.projection, PORTABLE, projection.to_bytes())
    spark_ml.save(projection, run.layout.spark_model)
    _check_written(run.layout.quarantine, [quarantine])
    return compaction.to_put_together(run.store.volumes(), compaction.MOST_VOLUMES) if run.arguments.store else ()


def _put_together(run: _Run, volumes: Sequence[Volume]) -> None:
    """Put volumes of the store together, if any."""
    if volumes:
        name = run.store.begin("compacted")
        parts = compaction.plan(run.store.read(volumes).lasting(), run.store.folder, name, run.stored_columns)
        written = tuple(distribute.rewrite(run.context, parts, here=run.alone))
        run.store.complete(Volume(name, run.arguments.run, written, tuple(one.name for one in volumes)))
        _log.info("%d volumes of the store were put together.", len(volumes))


def _outcome(assembly: Assembly, reused: int, choice: Choice, seconds: Seconds) -> Outcome:
    described, rejected = assembly.described.num_rows, assembly.rejected.num_rows
    projection = choice.projection
    shares = float(projection.explained_variance.sum())
    return Outcome(
        described + rejected,
        described,
        rejected,
        reused,
        projection.k,
        shares,
        projection.version,
        choice.kept_from,
        choice.why,
        seconds,
    )


def _fitted_split(inventory: pa.Table) -> str | None:
    """Tell which split the projection is fitted on: Training where there is one."""
    return FITTED_SPLIT if pc.any(pc.equal(inventory["split"], FITTED_SPLIT)).as_py() else None


def _worker(arguments: Arguments, model: Weights | None) -> Worker:
    return Worker(
        bucket=arguments.bucket,
        families=arguments.features,
        max_bytes=arguments.max_image_bytes,
        max_pixels=arguments.max_image_pixels,
        include_pixels=arguments.include_pixels,
        model=model,
    )


def _check_quarantine(assembly: Assembly, layout: RunLayout, max_share: float) -> None:
    """Refuse to go on when too much was quarantined, telling the counts by reason."""
    quarantined = assembly.rejected.num_rows
    inventoried = assembly.described.num_rows + quarantined
    counts = ", ".join(f"{reason}: {count}" for reason, count in assembly.reasons.most_common())
    if quarantined:
        _log.warning("%d of %d images quarantined (%s); see %s", quarantined, inventoried, counts, layout.quarantine)
    if quarantined == inventoried:
        raise JobError(f"All {inventoried} images were quarantined ({counts}); see {layout.quarantine}.")
    if quarantined > max_share * inventoried:
        raise JobError(
            f"{quarantined} of {inventoried} images were quarantined ({counts}), more than the share of {max_share:g} "
            f"that --max-quarantine-share allows; see {layout.quarantine}, mend the images or raise the share."
        )


def _check_count(inventoried: int, files: Iterable[WrittenFile]) -> None:
    """See that every inventoried object is in a file."""
    rows = sum(file.rows for file in files)
    if rows != inventoried:
        raise JobError(f"{inventoried} objects were inventoried, but {rows} rows written: report this, it is a bug.")


def _check_written(folder: str, files: Iterable[WrittenFile]) -> None:
    """See that the files that are there are those that were written."""
    if object_store.list_files(folder) != {file.name: file.size for file in files}:
        raise JobError(f"{folder} holds other files than this run has written; see who else writes there.")
