"""Actual cost of a terminated cluster, and the cost figures of a run.

The computation is in `include.emr.costs`. This module reads the instances from EMR and logs the result.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.hooks.aws import is_aws
from fruits_airflow.task_ids import COST_KEY, FEATURIZE_ON_WORKER, PLAN_CLUSTER, TERMINATE_CLUSTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from mypy_boto3_emr import EMRClient

    from include.emr.costs import Cost

log = logging.getLogger(__name__)


def cluster_cost(emr: EMRClient, cluster_id: str) -> dict[str, Any] | None:
    """Compute and log the cost of a terminated cluster.

    Returns:
        `include.emr.costs.Cost` in plain types. `None` when the cost is unknown. The log then contains the reason, and
        the run continues.
    """
    from include.emr.costs import actual
    from include.emr.prices import PricesError, price_table
    from include.settings import settings

    try:
        prices = price_table(settings().prices)
        pages = emr.get_paginator("list_instances").paginate(ClusterId=cluster_id)
        instances = (instance for page in pages for instance in page["Instances"])
        cost = replace(actual(instances, prices, datetime.now(UTC)), charged=is_aws(emr))
    except (BotoCoreError, ClientError, PricesError) as error:
        log.warning("The cost of cluster %s is unknown: %s", cluster_id, error)
        return None
    _log_cost(cluster_id, cost)
    return cost.as_dict()


def _log_cost(cluster_id: str, cost: Cost) -> None:
    hours = ", ".join(f"{row.instances} x {row.type} {row.market} {row.hours:.2f} h" for row in cost.hours)
    if cost.dollars is None:
        log.warning(
            "The cost of cluster %s (%s) is unknown: the price table of %s lacks %s. Add the prices (FRUITS_PRICES).",
            *(cluster_id, hours, cost.prices, ", ".join(cost.unpriced)),
        )
    else:
        log.info(
            "Cluster %s cost about $%.2f%s: %s (list prices of %s, spot assumed at %g of the list price).",
            *(cluster_id, cost.dollars, "" if cost.charged else " (estimate; nothing was charged)"),
            *(hours, cost.prices, cost.spot_share),
        )


def run_cost(context: Context) -> dict[str, Any] | None:
    """Return the estimated and actual cost of the run's cluster, or `None` for a DAG without a cluster.

    Both are zero if the application ran on an Airflow worker.
    """
    plan = context["ti"].xcom_pull(task_ids=PLAN_CLUSTER)
    if plan and context["ti"].xcom_pull(task_ids=FEATURIZE_ON_WORKER):
        return _no_cost(plan["estimate"]["prices"])
    return plan and {
        "estimate": plan["estimate"],
        "actual": context["ti"].xcom_pull(task_ids=TERMINATE_CLUSTER, key=COST_KEY),
    }


def _no_cost(prices: str) -> dict[str, Any]:
    """Return the cost of a run without a cluster."""
    from include.emr.costs import Cost, Estimate

    return {
        "estimate": {**asdict(Estimate(0.0, 0.0, 0.0)), "prices": prices},
        "actual": Cost(0.0, (), prices, spot_share=0.0).as_dict(),
    }


def reported_cost(cost: Mapping[str, Any] | None, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return the cost arguments of `include.report.build.Inputs`; empty when the actual cost is unknown.

    Args:
        cost: Result of `run_cost`.
        seconds: Duration of each task in seconds, by task id.
    """
    from include.emr.costs import by_task

    actual = (cost and cost["actual"]) or {}
    if not cost or actual.get("dollars") is None:
        return {}
    return {
        "dollars": by_task(actual["dollars"], seconds) or {FEATURIZE_ON_WORKER: actual["dollars"]},
        "expected_dollars": cost["estimate"]["dollars"],
        "charged": actual.get("charged", True),  # earlier versions did not store it
    }
