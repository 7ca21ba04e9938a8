"""The job: load the inventory, look up the cache, extract, fit, write."""

import logging
import secrets
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import pyarrow as pa

from fruits_features.cache import compaction
from fruits_features.cache.compaction import CompactionTask
from fruits_features.cache.selection import Selection
from fruits_features.cache.store import CacheSegment, DamagedCacheError, FeatureCache
from fruits_features.contract.arguments import Arguments, Refit
from fruits_features.contract.errors import RunError
from fruits_features.contract.layout import FITTED_SPLIT, OUTCOME, PORTABLE, RunLayout
from fruits_features.contract.workload import image_overhead_bytes
from fruits_features.extraction.batches import BatchExtractor
from fruits_features.extraction.families.onnx import Weights, fetched_weights
from fruits_features.io import object_store
from fruits_features.io.staging import Staging
from fruits_features.job import spark_ml
from fruits_features.job.damage import MergeUndamaged, ReportDamage, undamaged
from fruits_features.job.distribute import DriverRunner, Runner, SerialRunner, SparkRunner, StartSpark
from fruits_features.job.inventory import Inventory, fits_on_driver
from fruits_features.job.outcome import Outcome, RecogniserFigures, Seconds, Stopwatch
from fruits_features.job.partition import Partition, fitted_moments
from fruits_features.job.progress import ProgressListener, Tally
from fruits_features.job.shards import RunSnapshot, Shards, count_shards
from fruits_features.output.features_writer import (
    FeaturesWriter,
    WrittenFeatures,
    WrittenFile,
    write_quarantine,
)
from fruits_features.output.recogniser_writer import write_app_model, write_recogniser
from fruits_features.pca import refit
from fruits_features.pca.fit import Moments, ReductionError, fit, merge_all
from fruits_features.pca.refit import ProjectionChoice
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser
from fruits_features.schemas import stored_columns

MAX_ATTEMPTS = 3
"""Largest number of attempts of a run that finds the feature cache damaged. The last one reads no earlier segment."""

_log = logging.getLogger(__name__)


class JobError(RunError):
    """Too many images were quarantined, or the written files are not the expected ones."""


@dataclass(frozen=True)
class _Job:
    """Inputs of a run.

    Args:
        arguments: Arguments of the run.
        model: Model of the family `onnx`, or `None` without that family.
        cache: Feature cache.
        published: Published projection that the run may keep; `None` if there is none.
        why_new: Reason if there is none.
        fitted_split: Split that the projection is fitted on; `None` for all images.
    """

    arguments: Arguments
    model: Weights | None
    cache: FeatureCache
    published: Projection | None
    why_new: str
    fitted_split: str | None

    @property
    def layout(self) -> RunLayout:
        """Layout of the run's results."""
        return RunLayout(self.arguments.output)

    @property
    def extractor(self) -> BatchExtractor:
        """Extractor of the images' features."""
        return BatchExtractor(
            bucket=self.arguments.bucket,
            families=self.arguments.features,
            max_bytes=self.arguments.max_image_bytes,
            max_pixels=self.arguments.max_image_pixels,
            include_pixels=self.arguments.include_pixels,
            model=self.model,
        )

    @property
    def image_overhead_bytes(self) -> int:
        """Cost of an image besides its size."""
        return image_overhead_bytes(self.arguments.features)

    @property
    def kept(self) -> Projection | None:
        """The published projection if the run must keep it; else `None`."""
        return self.published if self.arguments.refit == Refit.NEVER else None


def run(start: StartSpark | SerialRunner, arguments: Arguments) -> Outcome:
    """Extract the features of every inventoried image and reduce them.

    Args:
        start: Starts Spark; or the runner of a run without Spark.
        arguments: Arguments of the run.

    Raises:
        CacheError: An object has no outcome.
        DamagedCacheError: The feature cache was damaged in each of `MAX_ATTEMPTS` attempts.
        InvalidArgumentsError: More components are requested than there are features.
        InventoryError: The inventory is empty or lists an object twice.
        JobError: Too many images were quarantined, or the output is incomplete.
        ModelError: The model cannot be used.
        ReductionError: The images are too few or too similar for the requested components.
        RefitError: The published projection had to be kept and cannot be.
        TooManyNewImagesError: More images are new than a run without Spark may extract.
    """
    stopwatch = Stopwatch()
    with fetched_weights(arguments.onnx_model) as model:
        if model:
            arguments.check_k(model.dimension)
        try:
            return _run_despite_damage(arguments, model, start, stopwatch)
        finally:
            object_store.remove_folder(RunLayout(arguments.output).staging)


def _run_despite_damage(
    arguments: Arguments, model: Weights | None, start: StartSpark | SerialRunner, stopwatch: Stopwatch
) -> Outcome:
    """Run, and start again without the segments of the feature cache that turn out to be damaged.

    Raises:
        DamagedCacheError: The last attempt, which reads its own segment only, has found damage too.
    """
    cache = FeatureCache.of(arguments.store or RunLayout(arguments.output).staging, arguments, model)
    ignored: set[str] = set()
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return _run(arguments, model, cache, ignored, start, stopwatch)
        except DamagedCacheError as error:
            cache.discard(error.damage)
            ignored |= error.damage.keys()
            if attempt == MAX_ATTEMPTS - 1:
                ignored |= {segment.name for segment in cache.segments()}
    return _run(arguments, model, cache, ignored, start, stopwatch)


def _run(  # noqa: PLR0913, PLR0917 - the inputs of one attempt
    arguments: Arguments,
    model: Weights | None,
    cache: FeatureCache,
    ignored: Collection[str],
    start: StartSpark | SerialRunner,
    stopwatch: Stopwatch,
) -> Outcome:
    inventory, published, why_new = _load(arguments, model)
    shards, runner = _look_up(arguments, inventory, cache, ignored, start)
    job = _Job(arguments, model, cache, published, why_new, shards.fitted_split)
    start_s = stopwatch.lap()
    with ProgressListener(Tally(arguments.run, shards.images, shards.reused), arguments.output) as progress:
        snapshot, moments = _extract(job, shards, runner, progress)
        extract_s = stopwatch.lap()
        quarantine = write_quarantine(snapshot.quarantine(arguments.bucket), job.layout.quarantine, arguments)
        _check_quarantine(snapshot, job.layout, arguments.max_quarantine_share)
        progress.begin_reduction()
        choice = _choose_projection(job, snapshot, moments, runner)
        recogniser = _write(job, snapshot, choice.projection, quarantine, runner)
        if choice.not_followed:
            _log.warning("%s", choice.not_followed)
        outcome = _outcome(snapshot, shards.reused, choice, *recogniser, Seconds(start_s, extract_s, stopwatch.lap()))
        object_store.write_bytes(job.layout.prefix, OUTCOME, outcome.to_bytes())
    return outcome


def _load(
    arguments: Arguments, model: Weights | None
) -> tuple[tuple[Inventory, pa.Table | None], Projection | None, str]:
    """Read the inventory and the published projection, and remove the output of an earlier attempt of this run.

    Returns:
        The inventory with its rows, without them if it is large; and the projection or the reason why there is none
        (`refit.published`).
    """
    layout = RunLayout(arguments.output)
    with ThreadPoolExecutor() as threads:
        inventory = threads.submit(_read_inventory, arguments.inventory)
        published = threads.submit(refit.published, arguments, model)
        loaded = inventory.result(), *published.result()
        earlier = (layout.staging, layout.features, layout.quarantine, layout.recogniser, layout.validation)
        list(threads.map(object_store.remove_folder, earlier))
    return loaded


def _read_inventory(folder: str) -> tuple[Inventory, pa.Table | None]:
    inventory = Inventory.of(folder)
    return inventory, inventory.read() if count_shards(inventory, ()) == 1 else None


def _look_up(
    arguments: Arguments,
    inventory: tuple[Inventory, pa.Table | None],
    cache: FeatureCache,
    ignored: Collection[str],
    start: StartSpark | SerialRunner,
) -> tuple[Shards, Runner]:
    """Look up the inventory in the cache, and choose where tasks run.

    Args:
        arguments: Arguments of the run.
        inventory: The inventory, with its rows if it is small.
        cache: Feature cache.
        ignored: Names of segments of the cache that are not read.
        start: Starts Spark; or the runner of a run without Spark.

    Raises:
        TooManyNewImagesError: There are too many new images for a run without Spark.
    """
    files, rows = inventory
    segments = cache.use(ignored)
    if rows is not None and count_shards(files, segments) == 1:
        shards = Shards.in_memory(rows, cache.load(segments))
        runner = _choose_runner(arguments, shards, start)
    else:
        runner = start if isinstance(start, SerialRunner) else SparkRunner(start())
        place = Staging(f"{RunLayout(arguments.output).staging}/tables-{secrets.token_hex(4)}")
        shards = Shards.staged(files, cache, segments, runner, place)
    if isinstance(runner, SerialRunner):
        runner.check_new(shards.images - shards.reused)
    return shards, runner


def _choose_runner(arguments: Arguments, shards: Shards, start: StartSpark | SerialRunner) -> Runner:
    """Choose the driver for a rerun with few new images, and Spark's workers otherwise."""
    if isinstance(start, SerialRunner):
        return start
    if shards.reused and fits_on_driver(shards.only.missing, image_overhead_bytes(arguments.features)):
        return DriverRunner(start)
    return SparkRunner(start())


def _extract(
    job: _Job, shards: Shards, runner: Runner, progress: ProgressListener
) -> tuple[RunSnapshot, Moments | None]:
    """Extract the features of images that are not in the cache, and add them to it, even if the run fails later.

    A segment that contains only transient rejections would not help a later run and is not completed.

    Returns:
        The outcome of every image, and the moments of the images to fit that this run has extracted.
    """
    missing = shards.split_missing(runner, job.image_overhead_bytes)
    counts = [len(of_shard) for of_shard in missing]
    if not any(counts):
        return shards.snapshot(runner, job.cache, None, counts), None
    name = job.cache.new_segment_name(job.arguments.run)
    folder = f"{job.cache.folder}/{name}"
    partitions = [
        Partition(number, rows, folder, job.fitted_split, needs_moments=not job.kept)
        for number, rows in enumerate(chain.from_iterable(missing))
    ]
    result = runner.extract(partitions, job.extractor, progress)
    segment = CacheSegment(name, job.arguments.run, result.parts)
    if undamaged([ReportDamage(job.cache.is_worth_keeping)(segment)]) == [True]:
        job.cache.complete(segment)
    return shards.snapshot(runner, job.cache, segment, counts), result.moments


def _choose_projection(job: _Job, snapshot: RunSnapshot, moments: Moments | None, runner: Runner) -> ProjectionChoice:
    """Fit a projection, or keep the published one.

    Args:
        job: The job.
        snapshot: Outcome of every image.
        moments: Moments of the images to fit that this run has extracted.
        runner: Computes the moments of the images that earlier runs have extracted.
    """
    arguments = job.arguments
    if job.kept:
        return refit.keep(job.kept, arguments, "--refit is never.")
    total = merge_all([_cached_moments(job, snapshot.select_earlier(runner), runner), moments])
    if total is None:
        raise ReductionError(
            f"None of the images in {FITTED_SPLIT} could be read, so there is nothing to fit the PCA on; "
            f"see {job.layout.quarantine}."
        )
    fitted = fit(total, arguments.features, k=arguments.k, explained_variance=arguments.explained_variance)
    fitted = replace(fitted, model=job.model, categories=snapshot.categories)
    if job.published is None:
        choice = ProjectionChoice(fitted, None, job.why_new)
    else:
        choice = refit.choose(fitted, total, job.published, arguments)
    _log.info("The projection is %s. %s", "kept" if choice.kept_from else "fitted", choice.why)
    return choice


def _cached_moments(job: _Job, selections: Sequence[Selection], runner: Runner) -> Moments | None:
    """Return the moments of features that earlier runs have extracted; `None` if there are none."""
    if not selections:
        return None
    measure = ReportDamage(partial(_selection_moments, job.cache.folder))
    merge = MergeUndamaged(_merge_moments)
    (moments,) = undamaged([runner.reduce("compute moments of cached features", measure, merge, selections)])
    return moments


def _selection_moments(cache: str, selection: Selection) -> Moments | None:
    return merge_all(fitted_moments(table, None) for table in selection.read(cache, ["features"]))


def _merge_moments(one: Moments | None, other: Moments | None) -> Moments | None:
    return merge_all([one, other])


def _write(
    job: _Job, snapshot: RunSnapshot, projection: Projection, quarantine: WrittenFile, runner: Runner
) -> tuple[Recogniser | None, str | None]:
    """Write `features/`, the projection and the recogniser, and compact the cache.

    Returns:
        The recogniser and `None`; or `None` and the reason why there is none, one sentence.

    Raises:
        JobError: The files do not contain every inventoried object, or the folders contain other files.
    """
    writer = FeaturesWriter(job.cache.folder, job.layout.features, projection, job.arguments)
    planned = snapshot.plan_files(runner)
    with ThreadPoolExecutor(1) as thread:  # small files, while the workers write the large ones
        small = (
            thread.submit(_write_projection, job.layout, projection),
            thread.submit(_check_written, job.layout.quarantine, [quarantine]),
        )
        to_compact = thread.submit(_segments_to_compact, job)
        write, merge = ReportDamage(writer.write), MergeUndamaged(WrittenFeatures.merge)
        (written,) = undamaged([runner.reduce("project and write features", write, merge, planned)])
        _check_count(snapshot.extracted + snapshot.rejected, [*written.files, quarantine])
        listed = thread.submit(_check_written, job.layout.features, written.files)  # while the recogniser is fitted
        recogniser = write_recogniser(written.sums, snapshot.categories, projection, job.arguments)
        if job.model and written.app_sums and recogniser[0]:
            write_app_model(written.app_sums, snapshot.categories, projection, job.model, job.arguments)
        for done in (*small, listed):
            done.result()
    _compact(job, to_compact.result(), runner)
    return recogniser


def _write_projection(layout: RunLayout, projection: Projection) -> None:
    """Write the projection in both formats."""
    object_store.write_bytes(layout.projection, PORTABLE, projection.to_bytes())
    spark_ml.save(projection, layout.spark_model)


def _segments_to_compact(job: _Job) -> Sequence[CacheSegment]:
    """Return the segments of the shared cache to compact; none without a shared cache."""
    if not job.arguments.store:
        return ()
    return compaction.select_segments(job.cache.segments(), compaction.MAX_SEGMENTS)


def _compact(job: _Job, segments: Sequence[CacheSegment], runner: Runner) -> None:
    """Rewrite small segments of the cache as one, unless one of them is damaged. The run does not need them."""
    if not segments:
        return
    try:
        _rewrite(job, segments, runner)
    except DamagedCacheError as error:
        job.cache.discard(error.damage)


def _rewrite(job: _Job, segments: Sequence[CacheSegment], runner: Runner) -> None:
    """Rewrite segments of the cache as one.

    Raises:
        DamagedCacheError: A segment is damaged.
    """
    name = job.cache.new_segment_name("compacted")
    columns = [column.name for column in stored_columns(include_pixels=job.arguments.include_pixels)]
    tasks = compaction.plan(job.cache.read(segments).without_transient(), job.cache.folder, name, columns)
    parts = undamaged(runner.map("compact the feature cache", ReportDamage(CompactionTask.write), tasks))
    superseded = tuple(segment.name for segment in segments)
    job.cache.complete(CacheSegment(name, job.arguments.run, tuple(parts), superseded))
    _log.info("Compacted %d segments of the feature cache.", len(segments))


def _outcome(  # noqa: PLR0913, PLR0917 - the results of a run
    snapshot: RunSnapshot,
    reused: int,
    choice: ProjectionChoice,
    recogniser: Recogniser | None,
    why_no_recogniser: str | None,
    seconds: Seconds,
) -> Outcome:
    projection = choice.projection
    return Outcome(
        inventoried=snapshot.extracted + snapshot.rejected,
        quarantined=snapshot.rejected,
        reused=reused,
        k=projection.k,
        explained_variance=float(projection.explained_variance.sum()),
        projection=projection.version,
        kept_from=choice.kept_from,
        why=choice.why,
        seconds=seconds,
        recogniser=RecogniserFigures.of(recogniser) if recogniser else None,
        why_no_recogniser=why_no_recogniser,
        reasons=dict(snapshot.reasons.most_common()),
        not_followed=choice.not_followed,
    )


def _check_quarantine(snapshot: RunSnapshot, layout: RunLayout, max_share: float) -> None:
    """Raise an error with the counts by reason if too many images were quarantined."""
    quarantined = snapshot.rejected
    inventoried = snapshot.extracted + quarantined
    counts = ", ".join(f"{reason}: {count}" for reason, count in snapshot.reasons.most_common())
    if quarantined:
        _log.warning("%d of %d images quarantined (%s); see %s", quarantined, inventoried, counts, layout.quarantine)
    if quarantined == inventoried:
        raise JobError(f"All {inventoried} images were quarantined ({counts}); see {layout.quarantine}.")
    if quarantined > max_share * inventoried:
        raise JobError(
            f"{quarantined} of {inventoried} images were quarantined ({counts}), more than the share of {max_share:g} "
            f"that --max-quarantine-share allows; see {layout.quarantine}, fix the images or raise the share."
        )


def _check_count(inventoried: int, files: Iterable[WrittenFile]) -> None:
    """Raise an error unless every inventoried object is in a file."""
    rows = sum(file.rows for file in files)
    if rows != inventoried:
        raise JobError(
            f"{inventoried} objects were inventoried, but {rows} rows were written; this is a bug, please report it."
        )


def _check_written(folder: str, files: Iterable[WrittenFile]) -> None:
    """Raise an error if the folder does not contain exactly these files."""
    if object_store.list_files(folder) != {file.name: file.size for file in files}:
        raise JobError(f"{folder} contains other files than this run has written; check which process writes to it.")
