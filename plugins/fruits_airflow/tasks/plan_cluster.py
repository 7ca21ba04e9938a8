"""Task `plan_cluster`: choose the size of the cluster and estimate its cost before it exists."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import new_images, run_context
from fruits_airflow.hooks import aws
from fruits_airflow.task_ids import PLAN_CLUSTER
from fruits_features.contract.workload import image_overhead_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.emr.prices import PriceTable
    from include.settings import Settings

log = logging.getLogger(__name__)


@task(
    task_id=PLAN_CLUSTER,
    doc_md="Chooses the nodes by the new images, or a run without a cluster if there are few. Estimates the cost, and "
    "fails if it may exceed `max_cost`.",
)
def plan_cluster() -> dict[str, Any]:
    """Return the size and the estimated cost of the run's cluster, and whether the run needs one.

    Returns:
        `nodes`, `estimate` with minutes and US dollars, and `without_cluster`: why the application runs on an Airflow
        worker first, or `None`. A cluster is then created only if the worker cannot run it.

    Raises:
        AirflowFailException: The cost may exceed `max_cost`, or no cluster can be planned with these settings, or
            it would be in another region than the bucket.
    """
    from include.emr.prices import PricesError, price_table
    from include.emr.sizing import ClusterError
    from include.settings import settings

    context = get_current_context()
    run = run_context.run_of(context)
    region = _region(run)
    try:
        prices = price_table(settings().prices)
        plan = _plan(context, prices)
    except (ClusterError, PricesError) as error:
        raise AirflowFailException(str(error)) from error
    if region != prices.region:
        log.warning(
            "The price table is for region %s, but the cluster is in %s. Set FRUITS_PRICES to a table of that region.",
            prices.region,
            region,
        )
    return plan


def _region(run: Mapping[str, Any]) -> str:
    """Return the region of the cluster, which must be the bucket's.

    Nodes in a private subnet reach S3 through a gateway endpoint, which leads only to buckets of its own region (Amazon
    VPC User Guide, *Gateway endpoints for Amazon S3*). AWS also charges for traffic between regions.

    Raises:
        AirflowFailException: The connection names another region, or none.
    """
    region = aws.s3().conn_region_name
    if region != run["region"]:
        raise AirflowFailException(
            f"Bucket {run['bucket']!r} is in {run['region']}, but the cluster would be in {region or 'no region'}: set "
            f"`region_name` of the connection `aws_default` to {run['region']}, or name a bucket of {region}."
        )
    return region


def _plan(context: Context, prices: PriceTable) -> dict[str, Any]:
    from include.emr import costs, sizing
    from include.settings import settings

    deployment, params, images = settings(), context["params"], run_context.run_of(context)["images"]
    new, size_bytes = new_images.counted(context, "cluster")
    workload = sizing.Workload(new, size_bytes, image_overhead_bytes(params["features"]), cached=images - new)
    targets = sizing.SizingTargets(deployment.emr_images_per_core_s, params["target_minutes"], deployment.emr_max_nodes)
    nodes = sizing.choose(params["cluster_size"], workload, targets)
    fleets = sizing.fleets(nodes, deployment.emr_architecture, prices)
    expected = costs.estimate(fleets, sizing.minutes(nodes, workload, deployment.emr_images_per_core_s), prices)
    without_cluster = _without_cluster(context, deployment)
    if without_cluster:
        log.info("%s", without_cluster)
    else:
        count = "one node" if nodes.core + nodes.task == 1 else f"{nodes.core + nodes.task} nodes"
        log.info("%s of %s images are new: %s.", f"{new:,}", f"{images:,}", count)
        log.info(
            "Cluster of size %s: 1 primary, %d core and %d task nodes. Estimate: %.0f minutes and $%.2f, at most $%.2f "
            "without spot capacity (list prices of %s).",
            *(params["cluster_size"], nodes.core, nodes.task),
            *(expected.minutes, expected.dollars, expected.most_dollars, prices.name),
        )
        costs.check(expected, params["max_cost"])
    estimate = {**asdict(expected), "prices": prices.name}
    return {"nodes": asdict(nodes), "estimate": estimate, "without_cluster": without_cluster}


def _without_cluster(context: Context, deployment: Settings) -> str | None:
    """Return why the run needs no cluster, or `None` if it needs one."""
    from include.emr import sizing

    images, overhead = run_context.run_of(context)["images"], image_overhead_bytes(context["params"]["features"])
    new, size_bytes = new_images.counted(context, "worker")
    workload = sizing.Workload(new, size_bytes, overhead, cached=images - new)
    if sizing.fits_on_worker(workload, deployment.emr_images_per_core_s, deployment.no_cluster_below):
        return (
            f"{new:,} of {images:,} images are new: no cluster. An Airflow worker processes them in less time than a "
            f"cluster takes to start (FRUITS_NO_CLUSTER_BELOW is {deployment.no_cluster_below:,})."
        )
    if new_images.counted(context, "cluster")[0] < deployment.no_cluster_below <= new:
        log.info(
            "This worker would have to extract %s images, because its machine type or its libraries are not those of "
            "the clusters (docs/guides/costs.md).",
            f"{new:,}",
        )
    return None
