"""What operators are given when they run: callables that Airflow renders template fields with.

They bring together settings, parameters and what earlier tasks returned; the requests are built in `include.emr.requests`.
Nothing is read while a DAG is parsed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read_json
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import RunLayout, described, latest

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from include.artifacts.bundle import ArtifactUris


def bucket(context: Context, jinja_env: jinja2.Environment | None = None) -> str:  # noqa: ARG001 - Airflow's signature
    """The bucket of this run: the parameter, or else the deployment's."""
    from include.settings import settings

    return context["params"]["bucket"] or settings().bucket


def image_prefix(context: Context, jinja_env: jinja2.Environment | None = None) -> str:  # noqa: ARG001
    """The prefix of the images: the parameter, or else the deployment's."""
    from include.settings import settings

    prefix = context["params"]["image_prefix"]
    return settings().image_prefix if prefix is None else prefix


def job_flow(context: Context, jinja_env: jinja2.Environment | None = None) -> dict[str, Any]:  # noqa: ARG001
    """The cluster to create."""
    from include.emr import requests
    from include.emr.prices import price_table
    from include.emr.sizing import Nodes
    from include.emr.tags import ClusterOwner
    from include.settings import settings

    run, dag_run = run_of(context), context["dag_run"]
    cluster = requests.Cluster(
        origin=ClusterOwner(settings().deployment_name, dag_run.dag_id, dag_run.run_id),
        run=run["name"],
        owner=context["task"].owner,
        bucket=run["bucket"],
        region=aws.s3().conn_region_name,
        artifacts=artifacts_of(context),
        nodes=Nodes(**context["ti"].xcom_pull(task_ids="plan_cluster")["nodes"]),
    )
    return requests.job_flow(settings(), cluster, price_table(settings().prices))


def steps(context: Context, jinja_env: jinja2.Environment | None = None) -> list[dict[str, Any]]:  # noqa: ARG001
    """The steps to run on the cluster: one."""
    from include.emr import requests

    return [requests.featurize_step(arguments_of(context), artifacts_of(context))]


def progress(context: Context, jinja_env: jinja2.Environment | None = None) -> str:  # noqa: ARG001
    """Where the application tells how far it is."""
    return RunLayout(run_of(context)["uri"]).progress


def application_args(context: Context, jinja_env: jinja2.Environment | None = None) -> list[str]:  # noqa: ARG001
    """The application's command line, for a cluster that is there already."""
    return arguments_of(context).to_argv()


def run_of(context: Context) -> dict[str, Any]:
    """The run as `take_inventory` fixed it."""
    run: dict[str, Any] = context["ti"].xcom_pull(task_ids="take_inventory")
    return run


def artifacts_of(context: Context) -> ArtifactUris:
    """What `upload_application` put in S3."""
    from include.artifacts.bundle import ArtifactUris

    return ArtifactUris(**context["ti"].xcom_pull(task_ids="upload_application"))


def arguments_of(context: Context) -> Arguments:
    """The application's arguments for this run.

    Raises:
        AirflowFailException: the run is published, so that writing it again would change what others read.
    """
    from include.settings import settings

    run, params, s3 = run_of(context), context["params"], aws.s3()
    layout, k = RunLayout(run["uri"]), params["k"]
    if s3.check_for_key(layout.record):
        raise AirflowFailException(
            f"Run {run['name']} is published and stays as it is: clear the DAG run from `take_inventory` on, which "
            "gives it a place of its own, or trigger a new one."
        )
    return Arguments(
        bucket=run["bucket"],
        inventory=layout.inventory,
        output=layout.prefix,
        run=run["name"],
        store=described(run["bucket"]),
        features=tuple(params["features"]),
        onnx_model=params["onnx_model"],
        k=k,
        explained_variance=None if k else params["explained_variance"],
        refit=params["refit"],
        published=read_json(s3, latest(run["bucket"])).get("paths", {}).get("projection"),
        include_pixels=params["include_pixels"],
        max_quarantine_share=params["max_quarantine_share"],
        max_image_bytes=settings().max_image_bytes,
        max_image_pixels=settings().max_image_pixels,
    )


def as_xcom(uris: ArtifactUris) -> dict[str, str]:
    """Artifact URIs as an XCom that the UI shows."""
    return asdict(uris)
