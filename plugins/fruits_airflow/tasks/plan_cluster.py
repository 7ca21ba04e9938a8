"""Task `plan_cluster`: choose the size of the cluster and estimate its cost before it exists."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.emr.prices import PriceTable

log = logging.getLogger(__name__)


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
    from include.emr.prices import PricesError, price_table
    from include.emr.sizing import ClusterError
    from include.settings import settings

    context = get_current_context()
    try:
        prices = price_table(settings().prices)
        plan = _plan(run_context.run_of(context), context["params"], prices)
    except (ClusterError, PricesError) as error:
        raise AirflowFailException(str(error)) from error
    region = aws.s3().conn_region_name
    if region != prices.region:
        log.warning("The prices are those of %s, the cluster's region is %s: see FRUITS_PRICES.", prices.region, region)
    return plan


def _plan(run: Mapping[str, Any], params: Mapping[str, Any], prices: PriceTable) -> dict[str, Any]:
    from include.emr import costs, sizing
    from include.settings import settings

    known, work = settings(), sizing.Workload(run["images"], run["size_bytes"])
    pace = sizing.SizingTargets(known.emr_images_per_core_s, params["target_minutes"], known.emr_max_nodes)
    nodes = sizing.choose(params["cluster_size"], work, pace)
    fleets = sizing.fleets(nodes, known.emr_architecture, prices)
    expected = costs.estimate(fleets, sizing.minutes(nodes, work, known.emr_images_per_core_s), prices)
    log.info(
        "Cluster of size %s: 1 primary, %d core and %d task nodes; about %.0f minutes and $%.2f, at most $%.2f without "
        "spot capacity (list prices of %s).",
        *(params["cluster_size"], nodes.core, nodes.task),
        *(expected.minutes, expected.dollars, expected.most_dollars, prices.name),
    )
    costs.check(expected, params["max_cost"])
    return {"nodes": asdict(nodes), "estimate": {**asdict(expected), "prices": prices.name}}
