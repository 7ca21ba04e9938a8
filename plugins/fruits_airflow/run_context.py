"""Values of template fields, computed from settings, parameters and earlier tasks' results.

Airflow calls these functions when it renders an operator's template fields, so nothing is read while a DAG is parsed.
The requests to EMR are built in `include.emr.requests`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.hooks import aws, claims
from fruits_airflow.hooks.documents import read_latest
from fruits_airflow.hooks.s3 import read_json
from fruits_airflow.task_ids import PLAN_CLUSTER, TAKE_INVENTORY, UPLOAD_APPLICATION
from fruits_features.contract.arguments import Arguments, InvalidArgumentsError
from fruits_features.contract.families import MODEL_FAMILY
from fruits_features.contract.layout import DEFAULT_DATASET, DatasetLayout, RunLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context

    from include.artifacts.bundle import ArtifactUris
    from include.emr.tags import ClusterOwner


def bucket(context: Context, jinja_env: jinja2.Environment | None = None) -> str:  # noqa: ARG001 - Airflow's signature
    """Return the run's bucket: the parameter, or else the deployment's bucket."""
    from include.settings import settings

    return context["params"]["bucket"] or settings().bucket


def dataset(context: Context) -> DatasetLayout:
    """Return the data set that the run's parameters name."""
    return DatasetLayout(bucket(context), context["params"]["dataset"])


def image_prefix(context: Context, jinja_env: jinja2.Environment | None = None) -> str:  # noqa: ARG001 - Airflow's signature
    """Return the images' key prefix: the parameter, or else the deployment's prefix."""
    from include.settings import settings

    prefix: str = context["params"]["image_prefix"] or settings().image_prefix
    return prefix


def job_flow(context: Context, jinja_env: jinja2.Environment | None = None) -> dict[str, Any]:  # noqa: ARG001 - Airflow's signature
    """Return the RunJobFlow request of the run's cluster.

    Raises:
        AirflowFailException: The run is already published. Airflow clears this task together with each step.
    """
    from include.emr import requests
    from include.emr.prices import price_table
    from include.emr.sizing import Nodes
    from include.settings import settings

    run = run_of(context)
    _require_unpublished(s3_of(run), RunLayout(run["uri"]))
    cluster = requests.Cluster(
        owner=owner_of(context),
        run=run["name"],
        dag_owner=context["task"].owner,
        bucket=run["bucket"],
        artifacts=artifacts_of(context),
        nodes=Nodes(**result_of(context, PLAN_CLUSTER)["nodes"]),
    )
    return requests.job_flow(settings(), cluster, price_table(settings().prices))


def steps(context: Context, jinja_env: jinja2.Environment | None = None) -> list[dict[str, Any]]:  # noqa: ARG001 - Airflow's signature
    """Return the cluster's steps: the Spark application as one step."""
    from include.emr import requests

    return [requests.featurize_step(arguments_of(context), artifacts_of(context))]


def validation_steps(context: Context, jinja_env: jinja2.Environment | None = None) -> list[dict[str, Any]]:  # noqa: ARG001 - Airflow's signature
    """Return the cluster's second step: the validation's reading of all rows."""
    from include.emr import requests

    run = run_of(context)
    paths = read_latest(s3_of(run), dataset_of(run)).get("paths", {})
    published = {name: paths.get(name) for name in ("projection", "recogniser")}
    return [requests.validate_step(requested_arguments(context), artifacts_of(context), published)]


def progress(context: Context, jinja_env: jinja2.Environment | None = None) -> str:  # noqa: ARG001 - Airflow's signature
    """Return the URI of the file in which the application reports its progress."""
    return RunLayout(run_of(context)["uri"]).progress


def onnx_model(context: Context) -> str | None:
    """Return the URI of the model: the parameter, or else the network that ships; `None` without the family `onnx`."""
    from include.artifacts import shipped_model
    from include.settings import settings

    params = context["params"]
    ships = MODEL_FAMILY in params["features"]
    return params["onnx_model"] or (shipped_model.uri(settings().bucket) if ships else None)


def application_args(context: Context, jinja_env: jinja2.Environment | None = None) -> list[str]:  # noqa: ARG001 - Airflow's signature
    """Return the application's command line arguments, for an existing Spark cluster."""
    return arguments_of(context).to_argv()


def owner_of(context: Context) -> ClusterOwner:
    """Return the deployment, DAG and DAG run that own the run's cluster and folder."""
    from include.emr.tags import ClusterOwner
    from include.settings import settings

    dag_run = context["dag_run"]
    return ClusterOwner(settings().deployment_name, dag_run.dag_id, dag_run.run_id)


def run_of(context: Context) -> dict[str, Any]:
    """Return the run as `take_inventory` recorded it."""
    return result_of(context, TAKE_INVENTORY)


def result_of(context: Context, task_id: str) -> dict[str, Any]:
    """Return the result of an earlier task.

    Raises:
        AirflowFailException: It has none. A retry would not find one either.
    """
    result: dict[str, Any] | None = context["ti"].xcom_pull(task_ids=task_id)
    if result is None:
        raise AirflowFailException(
            f"Task `{task_id}` has no result, as when it is marked as successful by hand. Clear it with the tasks "
            "after it."
        )
    return result


def dataset_of(run: Mapping[str, Any]) -> DatasetLayout:
    """Return the data set of a run. Runs of earlier versions belong to the default one."""
    return DatasetLayout(run["bucket"], run.get("dataset", DEFAULT_DATASET))


def s3_of(run: Mapping[str, Any], **kwargs: Any) -> S3Hook:
    """Return S3 in the region of a run's bucket; further arguments as for `S3Hook`."""
    return aws.s3(region_name=run["region"], **kwargs)


def artifacts_of(context: Context) -> ArtifactUris:
    """Return the URIs of the artifacts that `upload_application` stored."""
    from include.artifacts.bundle import ArtifactUris

    return ArtifactUris(**result_of(context, UPLOAD_APPLICATION))


def arguments_of(context: Context) -> Arguments:
    """Return the application's arguments for this run.

    Raises:
        AirflowFailException: The run is already published, or its folder belongs to another DAG run. Writing it would
            change data that others read. Or `latest.json` is damaged.
    """
    run = run_of(context)
    s3, layout = s3_of(run), RunLayout(run["uri"])
    _require_unpublished(s3, layout)
    _require_own_folder(context, s3, layout)
    return _arguments(context, published=read_latest(s3, dataset_of(run)).get("paths", {}).get("projection"))


def _require_unpublished(s3: S3Hook, layout: RunLayout) -> None:
    """Check that the run is not published."""
    if s3.check_for_key(layout.record):
        raise AirflowFailException(
            f"Run {layout.name} is already published and cannot be written again. Clear the DAG run from "
            f"`{TAKE_INVENTORY}` on, which gives it a new folder, or trigger a new run."
        )


def _require_own_folder(context: Context, s3: S3Hook, layout: RunLayout) -> None:
    """Check that no other DAG run has claimed the run's folder since `take_inventory`."""
    holder = read_json(s3, layout.claim)
    if holder and holder != asdict(owner_of(context)):
        raise AirflowFailException(
            f"{layout.prefix} belongs to {claims.describe(holder)}. Clear the DAG run from `{TAKE_INVENTORY}` on, "
            "which gives it a folder of its own."
        )


def requested_arguments(context: Context) -> Arguments:
    """Return the arguments that the run's files must name, without the published projection, which may have changed."""
    return _arguments(context, published=None)


def _arguments(context: Context, published: str | None) -> Arguments:
    """Return the arguments.

    Raises:
        AirflowFailException: The parameters contradict each other. The first task has checked most of it.
    """
    try:
        return _build_arguments(context, published)
    except InvalidArgumentsError as error:  # a retry has the same parameters
        raise AirflowFailException(str(error)) from error


def _build_arguments(context: Context, published: str | None) -> Arguments:
    from include.settings import settings

    run, params = run_of(context), context["params"]
    layout, k = RunLayout(run["uri"]), params["k"]
    return Arguments(
        bucket=run["bucket"],
        region=run["region"],
        inventory=layout.inventory,
        output=layout.prefix,
        run=run["name"],
        store=dataset_of(run).feature_cache,
        features=tuple(params["features"]),
        onnx_model=onnx_model(context),
        k=k,
        explained_variance=None if k else params["explained_variance"],
        refit=params["refit"],
        published=published,
        include_pixels=params["include_pixels"],
        max_quarantine_share=params["max_quarantine_share"],
        max_image_bytes=settings().max_image_bytes,
        max_image_pixels=settings().max_image_pixels,
    )


def as_xcom(uris: ArtifactUris) -> dict[str, str]:
    """Return artifact URIs in a form that XCom stores and the UI shows."""
    return asdict(uris)
