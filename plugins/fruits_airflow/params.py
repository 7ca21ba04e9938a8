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
from fruits_features.contract.families import DEFAULT_FAMILIES, FAMILIES, total_dimension
from fruits_features.contract.layout import (
    BUCKET_PATTERN,
    DATASET_PATTERN,
    DATASET_RULE,
    DEFAULT_DATASET,
    PREFIX_PATTERN,
)
from include.emr.sizing import AUTO, NODE_VCPUS, SIZES
from include.validation.checks import Severity

_DEFAULT_DIMENSION = total_dimension(DEFAULT_FAMILIES)
_DIMENSIONS = ", ".join(f"{family.name} ({family.dimension or 'the model decides'})" for family in FAMILIES.values())


def _pattern(rule: str, pattern: str) -> str:
    """Return a pattern that begins with its rule as a comment.

    Airflow's message for a value that does not match consists of the value and the pattern.
    """
    return f"(?#{rule}){pattern}"


def _section(name: str, **params: Param) -> dict[str, Param]:
    """Return parameters as a section of the form."""
    for param in params.values():
        param.schema["section"] = name
    return params


READ = _section(
    "What to read",
    bucket=Param(
        None,
        type=["null", "string"],
        pattern=_pattern("3 to 63 lowercase letters, digits, dots and hyphens", BUCKET_PATTERN),
        title="Bucket",
        description_md="Bucket of the images and of the features. Example: `fruits-photos`. 3 to 63 lowercase letters, "
        "digits, dots and hyphens. Empty: the deployment's bucket.",
    ),
    image_prefix=Param(
        None,
        type=["null", "string"],
        pattern=_pattern("ends in a slash, without a slash at its beginning and without * ? [ ]", PREFIX_PATTERN),
        title="Image prefix",
        description_md="Key prefix of the images. An image's folder is its category. Example: `images/`. It ends in a "
        "slash, does not begin with one, and contains no asterisk, question mark or bracket. Empty: the deployment's "
        "prefix.",
    ),
    dataset=Param(
        DEFAULT_DATASET,
        type="string",
        pattern=_pattern(DATASET_RULE, DATASET_PATTERN),
        title="Data set",
        description_md="A run is published in its data set. Other data sets of the bucket stay as they are. Example: "
        f"`citrus`. {DATASET_RULE}. A new name creates a data set.",
    ),
    replace_dataset=Param(
        default=False,
        type="boolean",
        title="Replace the data set by other images",
        description_md="Without it, a run on another image prefix than the published run of the data set fails.",
    ),
    wait_minutes=Param(
        60,
        type="number",
        minimum=0,
        maximum=1440,
        title="Maximum wait (minutes)",
        description_md="Longest wait for the images, the quiet period and the marker. Then the run fails. Example: "
        "`30`. 0 to 1440 minutes.",
    ),
    quiet_minutes=Param(
        0,
        type="number",
        minimum=0,
        maximum=1440,
        title="Quiet period (minutes)",
        description_md="Start only when no object was uploaded for this long, so that an upload can finish. Example: "
        "`10`. 0 to 1440 minutes. 0: no check.",
    ),
    marker=Param(
        None,
        type=["null", "string"],
        pattern=_pattern("a key without a slash at its beginning and end", r"^[^/](.*[^/])?$"),
        title="Marker",
        description_md="Start only when this object exists. Example: `_SUCCESS`. A key below the image prefix, without "
        "a slash at its beginning and end. Empty: no check.",
    ),
)
FEATURES = _section(
    "Features",
    features=Param(
        list(DEFAULT_FAMILIES),
        type="array",
        items={"type": "string", "enum": list(FAMILIES)},
        examples=list(FAMILIES),
        minItems=1,
        uniqueItems=True,
        title="Feature families",
        description_md="Families that are concatenated, in this order, into the column *features*. Example: `color` "
        f"alone. At least one, each once. Numbers per image: {_DIMENSIONS}. Select *onnx* too for the best "
        "recognition; it takes ten times as long.",
    ),
    onnx_model=Param(
        None,
        type=["null", "string"],
        pattern=_pattern("s3://bucket/key, or an absolute path on the cluster", ONNX_MODEL_PATTERN),
        title="ONNX model",
        description_md="Model of the family *onnx*. Example: `s3://models/fruits.onnx`. An S3 URI, or an absolute "
        "path on the cluster. Empty: the network that ships. Not allowed without this family.",
    ),
    include_pixels=Param(
        default=False,
        type="boolean",
        title="Include pixels",
        description_md="Also write each decoded image to the column *image*. Example: about 30 KB per row at 100 x 100 "
        "pixels.",
    ),
)
PROJECTION = _section(
    "Projection",
    refit=Param(
        str(Refit.AUTO),
        type="string",
        enum=[str(choice) for choice in Refit],
        title="Refit the projection",
        description_md="**always**: fit a projection in each run. **never**: keep the published one, so that vectors "
        "stay comparable. **auto**: keep it if families, model and *k* are the same, it explains today's images as "
        "well as a new one would (to 0.02 of the variance), and at most 5 % of their categories are new to it. With "
        "auto, a change of the explained variance by 0.02 or less has no effect, and the log contains a warning.",
    ),
    explained_variance=Param(
        DEFAULT_EXPLAINED_VARIANCE,
        type="number",
        exclusiveMinimum=0,
        maximum=1,
        title="Explained variance",
        description_md="Keep the smallest number of PCA components that explains this share of the variance. Example: "
        "`0.9`. Above 0, up to 1. Not used if *k* is given. A kept projection keeps its components (see above).",
    ),
    k=Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="PCA components",
        description_md="Parameter *k*: fixed number of components, instead of the explained variance. Example: `64`. "
        f"From 1 to the number of features ({_DEFAULT_DIMENSION} with the default families). Empty: by the explained "
        "variance.",
    ),
)
CLUSTER = _section(
    "Cluster",
    cluster_size=Param(
        AUTO,
        type="string",
        enum=[AUTO, *SIZES],
        values_display={
            AUTO: f"{AUTO}: by the number of images",
            **{name: f"{name}: {nodes.core + nodes.task} x {NODE_VCPUS} virtual CPUs" for name, nodes in SIZES.items()},
        },
        title="Cluster size",
        description_md="Number of nodes that extract the features, besides the primary node. Example: `auto`.",
    ),
    target_minutes=Param(
        15,
        type="number",
        minimum=1,
        maximum=300,
        title="Target (minutes)",
        description_md="*auto* chooses the fewest nodes that process the images in this time. Example: `30`. 1 to "
        "300 minutes. Starting and ending the cluster takes about ten minutes more.",
    ),
    max_cost=Param(
        20,
        type=["null", "number"],
        minimum=0,
        title="Maximum cost (US dollars)",
        description_md="A run whose cluster may cost more fails before the cluster is created. Example: `5`. From 0. "
        "Empty: no limit.",
    ),
)
ADVANCED = _section(
    "Advanced",
    max_quarantine_share=Param(
        DEFAULT_MAX_QUARANTINE_SHARE,
        type="number",
        minimum=0,
        maximum=1,
        title="Maximum quarantine share",
        description_md="The run fails when features cannot be extracted from a larger share of the images. Example: "
        "`0.1` for 10 %. 0 to 1.",
    ),
    recogniser_drop=Param(
        str(Severity.WARNING),
        type="string",
        enum=[str(Severity.WARNING), str(Severity.ERROR)],
        title="When the recogniser gets worse",
        description_md="If the recogniser is right for fewer images than the published one, by a share of at least "
        "0.01 and by more than chance explains. **warning**: publish the run, and log a warning. **error**: the run "
        "fails and is not published.",
    ),
    force=Param(
        default=False,
        type="boolean",
        title="Run even if nothing has changed",
        description_md="Without it, a run that would repeat the published one is skipped and creates no cluster.",
    ),
)

PARAMS: dict[str, Param] = READ | FEATURES | PROJECTION | ADVANCED
"""Parameters of each DAG that extracts features."""
CLUSTER_PARAMS: dict[str, Param] = READ | FEATURES | PROJECTION | CLUSTER | ADVANCED
"""The same with those of a cluster, in the order of the form."""

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

DAILY_ON_EMR: dict[str, Any] = DAILY | {"params": CLUSTER_PARAMS}
"""Arguments of a daily DAG that creates a cluster."""
