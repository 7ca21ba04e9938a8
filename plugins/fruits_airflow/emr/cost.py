"""The cluster's size and cost: what a run plans before it has one, and what it adds up when it is gone.

How many nodes and what they cost is worked out in `include.emr.sizing` and `include.emr.costs`; creating and ending clusters
is the operators' business.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from mypy_boto3_emr import EMRClient

    from include.emr.costs import Cost

log = logging.getLogger(__name__)

COST_XCOM = "cost"
"""Key under which `terminate_cluster` leaves what the cluster has cost."""


def cluster_cost(emr: EMRClient, cluster_id: str) -> dict[str, Any] | None:
    """Add up what a cluster that is gone has cost, and say it.

    Returns:
        `include.emr.costs.Cost` in plain types; `None` where it cannot be told, which ends no run: the log says why.
    """
    from include.emr.costs import actual
    from include.emr.prices import PricesError, price_table
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
    """What the report is told of a run's cost (`include.report.build.Inputs`); nothing where it is not known.

    Args:
        cost: as `run_cost` gives it.
        seconds: how long each task took.
    """
    from include.emr.costs import by_task

    actual = (cost and cost["actual"]) or {}
    if not cost or actual.get("dollars") is None:
        return {}
    return {"dollars": by_task(actual["dollars"], seconds), "expected_dollars": cost["estimate"]["dollars"]}
