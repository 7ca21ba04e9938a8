"""The planned cluster of a run, and its estimated and actual cost."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.emr import cost
from fruits_airflow.emr.cost import reported_cost
from fruits_airflow.emr.operators import TerminateClusterOperator
from fruits_airflow.tasks import plan_cluster
from fruits_features.contract.families import DEFAULT_FAMILIES
from include import settings
from include.emr.prices import DEFAULT_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_emr import EMRClient

    from include.dev.local_aws.local import LocalAws

PARAMS = {"cluster_size": "auto", "target_minutes": 15, "max_cost": 20, "features": list(DEFAULT_FAMILIES)}
RUN = {
    "name": "r",
    "bucket": "fruits",
    "region": "eu-west-1",
    "uri": "s3://fruits/features/runs/r",
    "images": 90_380,
    "size_bytes": 480_000_000,
}
UPLOADED = {role: f"s3://a/{role}" for role in ("application", "launcher", "bootstrap", "wheelhouse")}

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    """Settings are read once per process. Tests change them."""
    settings.settings.cache_clear()
    yield
    settings.settings.cache_clear()


def _context(
    run: dict[str, Any] = RUN,
    plan: dict[str, Any] | None = None,
    new: dict[str, dict[str, int]] | None = None,
    **params: object,
) -> Any:  # noqa: ANN401
    xcoms = {"take_inventory": run, "plan_cluster": plan, "upload_application": UPLOADED, "find_changes": new}
    return {
        "params": PARAMS | params,
        "dag_run": SimpleNamespace(dag_id="fruits_features", run_id="manual"),
        "task": SimpleNamespace(owner="orchard team"),
        "ti": SimpleNamespace(xcom_pull=lambda task_ids, key=None: xcoms[task_ids]),  # noqa: ARG005 - one key per task
    }


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    def plan(**context: Any) -> dict[str, Any]:  # noqa: ANN401
        monkeypatch.setattr(plan_cluster, "get_current_context", lambda: _context(**context))
        return plan_cluster.plan_cluster.function()

    return plan


def test_plan_is_the_smallest_cluster_for_a_small_inventory_and_logs_its_cost(
    plan: Any,  # noqa: ANN401
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        planned = plan()

    assert planned["nodes"] == {"core": 1, "task": 0, "primary_vcpus": 4}
    assert planned["estimate"] == {
        "minutes": 11.4,
        "dollars": 0.1269,  # 11.4 minutes of m7g.xlarge and m7g.2xlarge
        "most_dollars": 0.1269,
        "prices": "eu-west-1, 2026-11-22",
    }
    assert "1 primary, 1 core and 0 task nodes. Estimate: 11 minutes and $0.13" in caplog.text


def test_plan_of_many_images_has_task_nodes_and_a_higher_maximum_cost(plan: Any) -> None:  # noqa: ANN401
    planned = plan(run=RUN | {"images": 10_000_000, "size_bytes": 50_000_000_000})

    assert planned["nodes"] == {"core": 2, "task": 5, "primary_vcpus": 4}
    assert planned["estimate"]["dollars"] < planned["estimate"]["most_dollars"]


def test_plan_with_a_network_takes_longer_and_costs_more(plan: Any) -> None:  # noqa: ANN401
    without, with_network = (plan(features=features)["estimate"] for features in (["color"], ["color", "onnx"]))

    assert (without["minutes"], with_network["minutes"]) == (11.4, 20.4)
    assert without["dollars"] < with_network["dollars"] < 2 * without["dollars"]


def test_plan_of_many_images_with_a_network_has_more_nodes(plan: Any) -> None:  # noqa: ANN401
    many = RUN | {"images": 1_000_000, "size_bytes": 5_000_000_000}

    assert plan(run=many, features=["onnx"])["nodes"] == {"core": 2, "task": 6, "primary_vcpus": 4}
    assert plan(run=many)["nodes"] == {"core": 1, "task": 0, "primary_vcpus": 4}


def test_plan_follows_the_new_images_and_says_so(plan: Any, caplog: pytest.LogCaptureFixture) -> None:  # noqa: ANN401
    millions = RUN | {"images": 10_000_000, "size_bytes": 50_000_000_000}
    new = {machines: {"images": 100_000, "size_bytes": 500_000_000} for machines in ("cluster", "worker")}

    with caplog.at_level(logging.INFO):
        everything, changed = plan(run=millions), plan(run=millions, new=new)

    assert (everything["nodes"]["core"] + everything["nodes"]["task"], changed["nodes"]["core"]) == (7, 1)
    assert changed["nodes"]["task"] == 0
    assert changed["estimate"]["dollars"] < everything["estimate"]["dollars"] / 3
    assert "10,000,000 of 10,000,000 images are new: 7 nodes." in caplog.text
    assert "100,000 of 10,000,000 images are new: one node." in caplog.text


LITTLE = {"images": 384, "size_bytes": 384 * 5_000}


@pytest.mark.parametrize(
    ("new", "images", "below", "without"),
    [
        (LITTLE, 20_000, None, True),
        (LITTLE | {"images": 0}, 20_000, None, True),
        (LITTLE | {"images": 1000}, 20_000, None, False),
        (LITTLE, 20_000, "384", False),
        (LITTLE, 20_000, "0", False),
        (LITTLE, 384, None, False),  # from scratch
        (LITTLE, 1_000_000, None, False),  # all rows are written
        (LITTLE | {"size_bytes": 4_000_000_000}, 20_000, None, False),  # photographs of 10 MB
    ],
)
def test_little_needs_no_cluster(  # noqa: PLR0913, PLR0917 - a table
    plan: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    new: dict[str, int],
    images: int,
    below: str | None,
    *,
    without: bool,
) -> None:
    if below is not None:
        monkeypatch.setenv("FRUITS_NO_CLUSTER_BELOW", below)
    with caplog.at_level(logging.INFO):
        planned = plan(run=RUN | {"images": images}, new={"cluster": new, "worker": new}, max_cost=20)

    assert bool(planned["without_cluster"]) == without
    assert planned["nodes"]["core"] >= 1, "for a worker that cannot run the application"
    assert ("no cluster" in caplog.text) == without


def test_network_counts_in_the_time_of_a_run_without_a_cluster(plan: Any) -> None:  # noqa: ANN401
    many = {"run": RUN | {"images": 450_000}, "new": {"cluster": LITTLE, "worker": LITTLE}}

    assert plan(**many)["without_cluster"]
    assert plan(**many, features=["orb", "onnx"])["without_cluster"] is None


def test_plan_without_a_cluster_has_no_maximum_cost(plan: Any) -> None:  # noqa: ANN401
    assert plan(run=RUN, new={"cluster": LITTLE, "worker": LITTLE}, max_cost=0)["without_cluster"]


def test_worker_with_other_libraries_than_the_clusters_creates_a_cluster_and_says_so(
    plan: Any,  # noqa: ANN401
    caplog: pytest.LogCaptureFixture,
) -> None:
    everything = {"images": RUN["images"], "size_bytes": RUN["size_bytes"]}

    with caplog.at_level(logging.INFO):
        planned = plan(new={"cluster": LITTLE, "worker": everything})

    assert planned["without_cluster"] is None
    assert "384 of 90,380 images are new: one node." in caplog.text
    assert "This worker would have to extract 90,380 images" in caplog.text


def test_plan_above_the_maximum_cost_fails_before_a_cluster_is_created(plan: Any) -> None:  # noqa: ANN401
    with pytest.raises(AirflowFailException, match=r"up to \$1.30 .* `max_cost` allows \$1.00. No cluster was created"):
        plan(cluster_size="large", max_cost=1)


def test_plan_without_a_limit_never_fails(plan: Any) -> None:  # noqa: ANN401
    assert plan(cluster_size="large", max_cost=None)["nodes"] == {"core": 4, "task": 12, "primary_vcpus": 4}


def test_plan_in_another_region_warns_of_the_prices(
    plan: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    plan(run=RUN | {"region": "eu-central-1"})

    assert (
        "The price table is for region eu-west-1, but the cluster is in eu-central-1. Set FRUITS_PRICES" in caplog.text
    )


def test_plan_in_another_region_than_the_buckets_is_refused(plan: Any) -> None:  # noqa: ANN401
    with pytest.raises(AirflowFailException) as refused:
        plan(run=RUN | {"region": "eu-north-1"})

    assert str(refused.value) == (
        "Bucket 'fruits' is in eu-north-1, but the cluster would be in eu-west-1: set `region_name` of the connection "
        "`aws_default` to eu-north-1, or name a bucket of eu-west-1."
    )


def test_plan_with_an_unusable_price_table_names_it(
    plan: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FRUITS_PRICES", str(tmp_path / "gone.toml"))

    with pytest.raises(AirflowFailException, match=r"gone.toml: No such file or directory; correct FRUITS_PRICES"):
        plan()


def test_job_flow_has_the_planned_nodes_and_its_owner(plan: Any) -> None:  # noqa: ANN401
    request = run_context.job_flow(_context(plan=plan(cluster_size="medium")))

    roles = [fleet["InstanceFleetType"] for fleet in request["Instances"]["InstanceFleets"]]
    assert roles == ["MASTER", "CORE", "TASK"]
    assert {"Key": "owner", "Value": "orchard team"} in request["Tags"]
    assert {"Key": "dag", "Value": "fruits_features"} in request["Tags"]


def _ended(local_aws: LocalAws, emr: EMRClient) -> str:
    """Create a cluster like the DAG, without bootstrap actions, and end it."""
    plan = {"nodes": {"core": 1, "task": 0}}
    request = run_context.job_flow(_context(plan=plan)) | {"BootstrapActions": []}
    cluster = emr.run_job_flow(**request)["JobFlowId"]
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})
    assert cluster not in local_aws.active_clusters()
    return cluster


def test_cost_of_a_terminated_cluster_is_stored_and_logged(
    local_aws: LocalAws, caplog: pytest.LogCaptureFixture
) -> None:
    xcoms: dict[str, Any] = {}
    cluster = _ended(local_aws, local_aws.emr())
    operator = TerminateClusterOperator(task_id="terminate_cluster", job_flow_id=cluster)

    with caplog.at_level(logging.INFO):
        push = SimpleNamespace(xcom_push=lambda key, value: xcoms.update({key: value}))
        operator.execute_complete({"ti": push, "task": operator})

    # one minute of each, the minimum that is billed, at 0.2227 and 0.4454 dollars per hour
    assert xcoms["cost"]["dollars"] == 0.0111
    assert [(row["type"], row["instances"]) for row in xcoms["cost"]["hours"]] == [
        ("m7g.2xlarge", 1),
        ("m7g.xlarge", 1),
    ]
    assert f"Cluster {cluster} cost about $0.01 (estimate; nothing was charged): 1 x m7g.2xlarge" in caplog.text
    assert not xcoms["cost"]["charged"]


def test_cost_of_an_unpriced_instance_type_is_unknown_and_names_the_type_and_setting(
    local_aws: LocalAws, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = _ended(local_aws, local_aws.emr())
    other = tmp_path / "prices.toml"
    other.write_text(DEFAULT_FILE.read_text().replace("m7g.2xlarge", "m9g.2xlarge"))
    monkeypatch.setenv("FRUITS_PRICES", str(other))
    settings.settings.cache_clear()

    unknown = cost.cluster_cost(local_aws.emr(), cluster)

    assert unknown is not None
    assert unknown["dollars"] is None
    assert "the price table of eu-west-1, 2026-11-22 lacks m7g.2xlarge. Add the prices (FRUITS_PRICES)." in caplog.text


def test_unreadable_cost_does_not_fail_the_run(local_aws: LocalAws, caplog: pytest.LogCaptureFixture) -> None:
    assert cost.cluster_cost(local_aws.emr(), "j-UNKNOWN") is None
    assert "The cost of cluster j-UNKNOWN is unknown: " in caplog.text


def test_cost_of_a_run_is_reported_per_task() -> None:
    cost = {"estimate": {"dollars": 0.2}, "actual": {"dollars": 0.1}}

    assert reported_cost(cost, {"publish": 9.0, "cluster_ready": 2.0, "terminate_cluster": 2.0}) == {
        "dollars": {"cluster_ready": 0.05, "terminate_cluster": 0.05},
        "expected_dollars": 0.2,
        "charged": True,
    }


@pytest.mark.parametrize(
    "cost",
    [None, {"estimate": {"dollars": 0.2}, "actual": None}, {"estimate": {"dollars": 0.2}, "actual": {"dollars": None}}],
)
def test_unknown_cost_is_not_reported(cost: dict[str, Any] | None) -> None:
    assert reported_cost(cost, {"cluster_ready": 2.0}) == {}
