"""Arguments that the DAGs share: start date, retries, and the parameters of a run.

The trigger form shows the parameters' JSON schema, and Airflow validates a run's parameters with it.
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
        description="Bucket of the images and of the features. Empty: the deployment's bucket.",
    ),
    "image_prefix": Param(
        None,
        type=["null", "string"],
        pattern=PREFIX_PATTERN,
        title="Image prefix",
        description="Key prefix of the images, ending in '/'. An image's folder is its category. Empty: the "
        "deployment's prefix.",
    ),
    "wait_minutes": Param(
        60,
        type="number",
        minimum=0,
        maximum=1440,
        title="Maximum wait (minutes)",
        description="Longest wait for the images, the quiet period and the marker. Then the run fails.",
    ),
    "quiet_minutes": Param(
        0,
        type="number",
        minimum=0,
        maximum=1440,
        title="Quiet period (minutes)",
        description="Start only when no object was uploaded for this long, so that an upload can finish. 0: no check.",
    ),
    "marker": Param(
        None,
        type=["null", "string"],
        pattern=r"^[^/](.*[^/])?$",
        title="Marker",
        description="Start only when this object exists: a key below the image prefix, for example `_SUCCESS`.",
    ),
    "features": Param(
        list(DEFAULT_FAMILIES),
        type="array",
        items={"type": "string", "enum": list(FAMILIES)},
        examples=list(FAMILIES),
        minItems=1,
        uniqueItems=True,
        title="Feature families",
        description="Families that are concatenated, in this order, into the column `features`.",
    ),
    "onnx_model": Param(
        None,
        type=["null", "string"],
        pattern=ONNX_MODEL_PATTERN,
        title="ONNX model",
        description="Model of the family `onnx`: s3://bucket/key. Required with this family, not allowed without it.",
    ),
    "explained_variance": Param(
        DEFAULT_EXPLAINED_VARIANCE,
        type="number",
        exclusiveMinimum=0,
        maximum=1,
        title="Explained variance",
        description="Keep the smallest number of PCA components that explains this share of the variance (0 to 1).",
    ),
    "k": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="PCA components",
        description="Fixed number of components. Takes precedence over the explained variance.",
    ),
    "refit": Param(
        str(Refit.AUTO),
        type="string",
        enum=[str(choice) for choice in Refit],
        title="Refit the projection",
        description="`always`: fit for each run. `never`: keep the published projection, so that vectors stay "
        "comparable. `auto`: keep it while it explains the images about as well as a new one and contains their "
        "categories.",
    ),
    "include_pixels": Param(
        default=False,
        type="boolean",
        title="Include pixels",
        description="Also write each decoded image to the column `image`: about 30 KB per row at 100 x 100 pixels.",
    ),
    "max_quarantine_share": Param(
        DEFAULT_MAX_QUARANTINE_SHARE,
        type="number",
        minimum=0,
        maximum=1,
        title="Maximum quarantine share",
        description="The run fails when features cannot be extracted from a larger share of the images (0 to 1).",
    ),
    "force": Param(
        default=False,
        type="boolean",
        title="Run even if nothing has changed",
        description="Without it, a run that would repeat the published one is skipped and creates no cluster.",
    ),
}

CLUSTER_PARAMS = {
    "cluster_size": Param(
        "auto",
        type="string",
        enum=["auto", *SIZES],
        values_display={
            "auto": "auto: by the number of images",
            **{name: f"{name}: {nodes.core + nodes.task} x {NODE_VCPUS} virtual CPUs" for name, nodes in SIZES.items()},
        },
        title="Cluster size",
        description="Nodes that extract the features, in addition to the primary node.",
    ),
    "target_minutes": Param(
        15,
        type="number",
        minimum=1,
        maximum=300,
        title="Target (minutes)",
        description="`auto` chooses the fewest nodes that extract all features in this time. Starting and ending the "
        "cluster takes about ten minutes more.",
    ),
    "max_cost": Param(
        20,
        type=["null", "number"],
        minimum=0,
        title="Maximum cost (US dollars)",
        description="A run whose cluster may cost more fails before the cluster is created. Empty: no limit.",
    ),
}
"""Parameters of a DAG that creates a cluster."""

START = datetime(2026, 1, 1)  # noqa: DTZ001 - Airflow interprets it in its default time zone, UTC

TASK_TIMEOUT = timedelta(hours=3)
"""Longest time of one attempt of a task on a worker. Waits in the triggerer have limits of their own.

The longest tasks list or read all images. Listing nine million takes 12 minutes of CPU time
(docs/measurements/constants.md). A failed step waits up to two hours for its logs, with the largest
`FRUITS_LOG_WAIT_S`.
"""
REQUEST_TIMEOUT = timedelta(minutes=15)
"""The same for a task that makes some requests. A throttled RunJobFlow is repeated for two minutes, other requests for
about one (`fruits_airflow.hooks.aws`)."""

TASKS: dict[str, Any] = {
    "owner": "fruits",
    "retries": 2,
    "execution_timeout": TASK_TIMEOUT,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "botocore_config": RETRY_CONFIG,
    "on_failure_callback": FailureAlert(),
}
"""Default arguments of all tasks."""

DAILY: dict[str, Any] = {
    "start_date": START,
    "catchup": False,
    "max_active_runs": 1,
    "params": PARAMS,
    "default_args": TASKS,
}
"""Arguments of a daily DAG."""

DAILY_ON_EMR: dict[str, Any] = DAILY | {"params": PARAMS | CLUSTER_PARAMS}
"""Arguments of a daily DAG that creates a cluster."""
