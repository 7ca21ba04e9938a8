"""The job: read, describe, account, reduce, write."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import SparkContext

from fruits_features import cluster, spark_model, storage, tables
from fruits_features.arguments import Arguments
from fruits_features.components import ReductionError, fit
from fruits_features.families.onnx import Weights, fetched
from fruits_features.final import Finish, WrittenFile, plan_files, write_quarantine
from fruits_features.inventory import FITTED_SPLIT, cut, read_inventory
from fruits_features.layout import PORTABLE, RunLayout
from fruits_features.parts import Account, Part
from fruits_features.progress import Progress
from fruits_features.projection import Projection
from fruits_features.worker import Worker

_log = logging.getLogger(__name__)


class JobError(Exception):
    """The run cannot be completed; the message is the sentence that people read."""


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Args:
        inventoried: how many objects the inventory lists.
        described: how many of them are rows of `features/`.
        quarantined: how many of them are rows of `quarantine/`.
        k: how many components there are.
        explained_variance: their share of the variance together.
    """

    inventoried: int
    described: int
    quarantined: int
    k: int
    explained_variance: float


def run(context: SparkContext, arguments: Arguments) -> Outcome:
    """Describe and reduce every inventoried image.

    Raises:
        InventoryError: when the inventory cannot be worked on.
        InvalidArgumentsError: when more components are asked for than there are features.
        JobError: when the run cannot be completed as asked.
        ModelError: when the model cannot be used.
        ReductionError: when the images are too few or too alike for what was asked.
    """
    with fetched(arguments.onnx_model) as model:
        if model:
            arguments.check_k(model.dimension)
        return _run(context, arguments, model)


def _run(context: SparkContext, arguments: Arguments, model: Weights | None) -> Outcome:
    layout = RunLayout(arguments.output)
    inventory = read_inventory(arguments.inventory)
    for folder in (layout.staging, layout.features, layout.quarantine):
        storage.remove_folder(folder)
    try:
        with _progress(context, arguments, inventory.num_rows) as progress:
            parts = _parts(inventory, context.defaultParallelism, layout)
            account = cluster.describe(context, parts, _worker(arguments, model), progress.reporter)
            quarantine = write_quarantine(layout.staging, account.rejections, layout.quarantine, arguments)
            _check_quarantine(account, layout, arguments.max_quarantine_share)
            progress.begin_reduction()
            projection = replace(_fit(account, layout, arguments), model=model)
            finish = Finish(layout.staging, layout.features, projection, arguments)
            features = cluster.write_features(context, plan_files(account.files, context.defaultParallelism), finish)
            storage.write_bytes(layout.projection, PORTABLE, projection.to_bytes())
            spark_model.save(projection, layout.spark_model)
            _check_written(inventory.num_rows, {layout.features: features, layout.quarantine: [quarantine]})
    finally:
        storage.remove_folder(layout.staging)
    shares = float(projection.explained_variance.sum())
    return Outcome(inventory.num_rows, account.described, account.rejected, projection.k, shares)


def _fit(account: Account, layout: RunLayout, arguments: Arguments) -> Projection:
    """Fit the projection."""
    if account.moments is None:
        raise ReductionError(
            f"None of the images in {FITTED_SPLIT} could be described, so there is nothing to fit; "
            f"see {layout.quarantine}."
        )
    return fit(account.moments, arguments.features, k=arguments.k, explained_variance=arguments.explained_variance)


def _parts(inventory: pa.Table, cores: int, layout: RunLayout) -> list[Part]:
    has_split = bool(pc.any(pc.equal(inventory["split"], FITTED_SPLIT)).as_py())
    fitted = FITTED_SPLIT if has_split else None
    return [
        Part(number, tables.to_bytes(rows), layout.staging, fitted) for number, rows in enumerate(cut(inventory, cores))
    ]


def _worker(arguments: Arguments, model: Weights | None) -> Worker:
    return Worker(
        bucket=arguments.bucket,
        families=arguments.features,
        max_bytes=arguments.max_image_bytes,
        max_pixels=arguments.max_image_pixels,
        include_pixels=arguments.include_pixels,
        model=model,
    )


def _progress(context: SparkContext, arguments: Arguments, images: int) -> Progress:
    """Listen where Spark's own workers reach the driver; Spark itself sets the host where nobody has."""
    host = context.getConf().get("spark.driver.host")
    bind = context.getConf().get("spark.driver.bindAddress", host)
    return Progress(arguments.run, images, arguments.output, str(host), str(bind))


def _check_quarantine(account: Account, layout: RunLayout, max_share: float) -> None:
    """Refuse to go on when too much was quarantined, telling the counts by reason."""
    quarantined, inventoried = account.rejected, account.described + account.rejected
    counts = ", ".join(f"{reason}: {count}" for reason, count in account.reasons.most_common())
    if quarantined:
        _log.warning("%d of %d images quarantined (%s); see %s", quarantined, inventoried, counts, layout.quarantine)
    if quarantined == inventoried:
        raise JobError(f"All {inventoried} images were quarantined ({counts}); see {layout.quarantine}.")
    if quarantined > max_share * inventoried:
        raise JobError(
            f"{quarantined} of {inventoried} images were quarantined ({counts}), more than the share of {max_share:g} "
            f"that --max-quarantine-share allows; see {layout.quarantine}, mend the images or raise the share."
        )


def _check_written(inventoried: int, folders: Mapping[str, Sequence[WrittenFile]]) -> None:
    """See that every inventoried object is in a file, and that the files that are there are those that were written."""
    rows = sum(file.rows for files in folders.values() for file in files)
    if rows != inventoried:
        raise JobError(f"{inventoried} objects were inventoried, but {rows} rows written: report this, it is a bug.")
    for folder, files in folders.items():
        if storage.list_files(folder) != {file.name: file.size for file in files}:
            raise JobError(f"{folder} holds other files than this run has written; see who else writes there.")
