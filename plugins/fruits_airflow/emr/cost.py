"""The cluster's size and cost: what a run plans before it has one, and what it adds up when it is gone.

How many nodes and what they cost is worked out in `include.cluster` and `include.costs`; creating and ending clusters
is the operators' business.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow import aws, templates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from mypy_boto3_emr import EMRClient

    from include.costs import Cost
    from include.prices import PriceTable

log = logging.getLogger(__name__)

COST_XCOM = "cost"
"""Key under which `terminate_cluster` leaves what the cluster has cost."""


@task(
    retries=2,
    doc_md="Chooses the cluster's nodes by the inventory and says what they will cost; refuses a run above `max_cost`.",
)
def plan_cluster() -> dict[str, Any]:
    """Size the run's cluster and price it, before there is one.

    Returns:
        The plan: `nodes`, and `estimate` with minutes and dollars.

    Raises:
        AirflowFailException: the run may cost more than it is allowed to, or no cluster can be had.
    """
    from include.cluster import ClusterError
    from include.prices import PricesError, price_table
    from include.settings import settings

    context = get_current_context()
    try:
        prices = price_table(settings().prices)
        plan = _plan(templates.run_of(context), context["params"], prices)
    except (ClusterError, PricesError) as error:
        raise AirflowFailException(str(error)) from error
    region = aws.s3().conn_region_name
    if region != prices.region:
        log.warning("The prices are those of %s, the cluster's region is %s: see FRUITS_PRICES.", prices.region, region)
    return plan


def _plan(run: Mapping[str, Any], params: Mapping[str, Any], prices: PriceTable) -> dict[str, Any]:
    from include import cluster, costs
    from include.settings import settings

    known, work = settings(), cluster.Work(run["images"], run["size_bytes"])
    pace = cluster.Pace(known.emr_images_per_core_s, params["target_minutes"], known.emr_max_nodes)
    nodes = cluster.choose(params["cluster_size"], work, pace)
    fleets = cluster.fleets(nodes, known.emr_architecture, prices)
    expected = costs.estimate(fleets, cluster.minutes(nodes, work, known.emr_images_per_core_s), prices)
    log.info(
        "Cluster of size %s: 1 primary, %d core and %d task nodes; about %.0f minutes and $%.2f, at most $%.2f without "
        "spot capacity (list prices of %s).",
        *(params["cluster_size"], nodes.core, nodes.task),
        *(expected.minutes, expected.dollars, expected.most_dollars, prices.name),
    )
    costs.check(expected, params["max_cost"])
    return {"nodes": asdict(nodes), "estimate": {**asdict(expected), "prices": prices.name}}


def cluster_cost(emr: EMRClient, cluster_id: str) -> dict[str, Any] | None:
    """Add up what a cluster that is gone has cost, and say it.

    Returns:
        `include.costs.Cost` in plain types; `None` where it cannot be told, which ends no run: the log says why.
    """
    from include.costs import actual
    from include.prices import PricesError, price_table
    from include.settings import settings

    try:
        prices = price_table(settings().prices)
        pages = emr.get_paginator("list_instances").paginate(ClusterId=cluster_id)
        cost = actual((one for page in pages for one in page["Instances"]), prices, datetime.now(UTC))
    except (BotoCoreError, ClientError, PricesError) as error:
        log.warning("What cluster %s has cost is not known: %s", cluster_id, error)
        return None
    _say(cluster_id, cost)
    return cost.as_dict()


def _say(cluster_id: str, cost: Cost) -> None:
    hours = ", ".join(f"{one.instances} x {one.type} {one.market} {one.hours:.2f} h" for one in cost.hours)
    if cost.dollars is None:
        log.warning(
            "What cluster %s has cost is not known (%s): the table of prices of %s lacks %s; see FRUITS_PRICES.",
            *(cluster_id, hours, cost.prices, ", ".join(cost.unpriced)),
        )
    else:
        log.info(
            "Cluster %s has cost about $%.2f: %s (list prices of %s, spot taken as %g of them).",
            *(cluster_id, cost.dollars, hours, cost.prices, cost.spot_share),
        )


def run_cost(context: Context) -> dict[str, Any] | None:
    """What the run's cluster was to cost, and has cost; `None` for a DAG without a cluster."""
    plan = context["ti"].xcom_pull(task_ids="plan_cluster")
    return plan and {
        "estimate": plan["estimate"],
        "actual": context["ti"].xcom_pull(task_ids="terminate_cluster", key=COST_XCOM),
    }


def reported_cost(cost: Mapping[str, Any] | None, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What the report is told of a run's cost (`include.report.Inputs`); nothing where it is not known.

    Args:
        cost: as `run_cost` gives it.
        seconds: how long each task took.
    """
    from include.costs import by_task

    actual = (cost and cost["actual"]) or {}
    if not cost or actual.get("dollars") is None:
        return {}
    return {"dollars": by_task(actual["dollars"], seconds), "expected_dollars": cost["estimate"]["dollars"]}
