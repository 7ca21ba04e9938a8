"""What both DAGs have in common: start, retries, and the parameters of a run.

The parameters' JSON schema is what the trigger form shows and what Airflow checks before a run begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param

from fruits_airflow.hooks.aws import RETRY_CONFIG
from fruits_airflow.notifications import FailureAlert
from fruits_features.contract.arguments import (
    DEFAULT_EXPLAINED_VARIANCE,
    DEFAULT_MAX_QUARANTINE_SHARE,
    ONNX_MODEL_PATTERN,
    Refit,
)
from fruits_features.contract.families import DEFAULT_FAMILIES, FAMILIES
from fruits_features.contract.layout import BUCKET_PATTERN, PREFIX_PATTERN
from include.emr.sizing import NODE_VCPUS, SIZES

PARAMS = {
    "bucket": Param(
        None,
        type=["null", "string"],
        pattern=BUCKET_PATTERN,
        title="Bucket",
        description="Where images are read and features are written. Empty: the deployment's bucket.",
    ),
    "image_prefix": Param(
        None,
        type=["null", "string"],
        pattern=PREFIX_PATTERN,
        title="Image prefix",
        description="Images lie below it, the last folder naming the category; ends in '/'. Empty: the deployment's.",
    ),
    "wait_minutes": Param(
        60,
        type="number",
        minimum=0,
        maximum=1440,
        title="Longest wait (minutes)",
        description="How long to wait for images, and for quiet and marker, before the run fails.",
    ),
    "quiet_minutes": Param(
        0,
        type="number",
        minimum=0,
        maximum=1440,
        title="Quiet (minutes)",
        description="Begin only when no object has come for so long: an upload under way is let finish.",
    ),
    "marker": Param(
        None,
        type=["null", "string"],
        pattern=r"^[^/](.*[^/])?$",
        title="Marker",
        description="Begin only when this object, a key below the image prefix such as `_SUCCESS`, is there.",
    ),
    "features": Param(
        list(DEFAULT_FAMILIES),
        type="array",
        items={"type": "string", "enum": list(FAMILIES)},
        examples=list(FAMILIES),
        minItems=1,
        uniqueItems=True,
        title="Feature families",
        description="Concatenated, in this order, into the column `features`.",
    ),
    "onnx_model": Param(
        None,
        type=["null", "string"],
        pattern=ONNX_MODEL_PATTERN,
        title="ONNX model",
        description="The model of the family `onnx`, s3://bucket/key; given exactly when that family is.",
    ),
    "explained_variance": Param(
        DEFAULT_EXPLAINED_VARIANCE,
        type="number",
        exclusiveMinimum=0,
        maximum=1,
        title="Explained variance",
        description="Keep the smallest number of PCA components that explains this share of the variance.",
    ),
    "k": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="PCA components",
        description="A number of components instead; it wins over the explained variance.",
    ),
    "refit": Param(
        str(Refit.AUTO),
        type="string",
        enum=[str(choice) for choice in Refit],
        title="Refit the projection",
        description="`always`; `never`: keep the published one, so that vectors stay comparable; `auto`: keep it while "
        "it explains today's images about as well as a new one and knows their categories.",
    ),
    "include_pixels": Param(
        default=False,
        type="boolean",
        title="Include pixels",
        description="Also write each decoded image (column `image`): about 30 KB a row at 100 x 100.",
    ),
    "max_quarantine_share": Param(
        DEFAULT_MAX_QUARANTINE_SHARE,
        type="number",
        minimum=0,
        maximum=1,
        title="Largest quarantine share",
        description="The run fails when a larger share of the images cannot be read or described.",
    ),
    "force": Param(
        default=False,
        type="boolean",
        title="Run even when nothing has changed",
        description="Otherwise a run that would repeat the published one is skipped, and costs nothing.",
    ),
}

CLUSTER_PARAMS = {
    "cluster_size": Param(
        "auto",
        type="string",
        enum=["auto", *SIZES],
        values_display={
            "auto": "auto: what the images need",
            **{name: f"{name}: {nodes.core + nodes.task} x {NODE_VCPUS} virtual CPUs" for name, nodes in SIZES.items()},
        },
        title="Cluster size",
        description="The nodes that describe the images, beside the primary one.",
    ),
    "target_minutes": Param(
        15,
        type="number",
        minimum=1,
        maximum=300,
        title="Target (minutes)",
        description="Size `auto` takes the fewest nodes that describe the images in this time. Starting and ending the "
        "cluster takes about ten minutes more.",
    ),
    "max_cost": Param(
        20,
        type=["null", "number"],
        minimum=0,
        title="Largest cost (dollars)",
        description="A run whose cluster may cost more is refused before there is a cluster. Empty: no limit.",
    ),
}
"""Of a DAG that has a cluster of its own."""

START = datetime(2026, 1, 1)  # noqa: DTZ001 - Airflow reads it in its own time zone, UTC

TASKS: dict[str, Any] = {
    "owner": "fruits",
    "retries": 2,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "botocore_config": RETRY_CONFIG,
    "on_failure_callback": FailureAlert(),
}
"""What all tasks have in common."""

DAILY: dict[str, Any] = {
    "start_date": START,
    "catchup": False,
    "max_active_runs": 1,
    "params": PARAMS,
    "default_args": TASKS,
}

DAILY_ON_EMR: dict[str, Any] = DAILY | {"params": PARAMS | CLUSTER_PARAMS}
