"""The step of a run, as the DAG sends it to EMR, with its application and inventory in a bucket."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fruits_features.contract.arguments import Arguments
from include.artifacts import bundle
from include.emr import requests
from include.emr.prices import price_table
from include.emr.tags import ClusterOwner
from include.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from include.emr.sizing import Nodes
    from tests.support.buckets import Bucket

REGION = "eu-west-1"


@dataclass(frozen=True)
class Step:
    """A run's cluster and step.

    Args:
        request: The RunJobFlow request.
        command: The step's command.
        application: Name of the application's archive.
        archive: Content of the application's archive.
        output: Folder of the run's results.
    """

    request: dict[str, Any]
    command: list[str]
    application: str
    archive: bytes
    output: Path


def prepare(bucket: Bucket, nodes: Nodes) -> Step:
    """Put application and inventory into the bucket of the images, and build the requests of a run.

    Args:
        bucket: The images, and nothing else.
        nodes: The cluster's.
    """
    root, folder = f"s3://{bucket.name}", bucket.folder / "runs" / "r"
    replace(bucket, runs=folder).inventory(bucket.entries())
    artifacts = bundle.build(bundle.application_folder())
    for artifact in artifacts.values():
        bucket.put(f"artifacts/{artifact.name}", artifact.content)
    uris = bundle.uris(artifacts, f"{root}/artifacts/", f"{root}/artifacts/wheelhouse.txt")
    arguments = Arguments(
        bucket=bucket.name,
        region=REGION,
        inventory=f"{root}/runs/r/inventory",
        output=f"{root}/runs/r",
        run="r",
        k=3,
    )
    cluster = requests.Cluster(
        owner=ClusterOwner("tests", "fruits_features", "manual__1"),
        run="r",
        dag_owner="fruits",
        bucket=bucket.name,
        artifacts=uris,
        nodes=nodes,
    )
    return Step(
        request=requests.job_flow(Settings(), cluster, price_table()),
        command=requests.featurize_step(arguments, uris)["HadoopJarStep"]["Args"],
        application=artifacts["application"].name,
        archive=artifacts["application"].content,
        output=folder,
    )
