"""Faults of AWS: each run logs the reason, leaves no cluster and no partial publication, and succeeds when repeated.

The faults of Airflow's processes are in `test_airflow_faults.py`.
"""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from include.dev.local_aws.emr.faults import FAULT_TAG
from include.dev.local_aws.s3.fault_proxy import Fault, S3FaultProxy, first
from include.dev.sample_images import generate, make_plan
from include.emr.tags import ClusterOwner
from tests.support.airflow.faults import AWS_FAULTS, Case
from tests.support.airflow.pipeline import Pipeline
from tests.support.airflow.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

PARAMS = {"k": 3, "force": True}  # images do not change
STEP_FAULTS = {"driver-killed", "executor-killed", "node-terminated"}
SETTINGS = {"FRUITS_DEPLOYMENT": "faults", "FRUITS_LOG_WAIT_S": "20"}


@pytest.fixture(scope="module")
def topic(local_aws: LocalAws) -> Iterator[Topic]:
    with closing(Topic(local_aws, "faults")) as topic:
        yield topic


@pytest.fixture(scope="module")
def orchard(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], topic: Topic, tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A separate bucket with a published run."""
    environment = {**airflow_environment, **SETTINGS, "FRUITS_ALERT_TOPIC_ARN": topic.arn}
    orchard = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("faults"), environment)
    _put_new_images(orchard, tmp_path_factory.mktemp("images"), seed=1)
    run = orchard.run("2026-05-01", **PARAMS)
    assert run.ok, run.error
    return orchard


@pytest.fixture(scope="module")
def s3_proxy(local_aws: LocalAws) -> Iterator[S3FaultProxy]:
    """An S3 proxy that answers the first GET of each object with 503."""
    server = urlsplit(local_aws.environment["AWS_ENDPOINT_URL_S3"])
    with S3FaultProxy((str(server.hostname), int(server.port or 0)), faults=first(1, Fault.SLOW_DOWN)) as proxy:
        yield proxy


@pytest.mark.parametrize("dated", list(enumerate(AWS_FAULTS, 2)), ids=[case.injected for case in AWS_FAULTS])
def test_fault_is_logged_and_leaves_no_cluster_and_no_partial_publication(
    dated: tuple[int, Case], orchard: Pipeline, topic: Topic, s3_proxy: S3FaultProxy, tmp_path: Path
) -> None:
    day, case = dated
    _put_new_images(orchard, tmp_path, seed=day)
    date, before, clusters = f"2026-05-{day:02}", orchard.published(), len(orchard.cluster_states())
    fault = f"{case.fault}:{s3_proxy.url}" if case.fault == "s3-endpoint" else case.fault
    tags = {"FRUITS_EMR_TAGS": json.dumps({FAULT_TAG: fault} if fault else {})}

    run = replace(orchard, environment={**orchard.environment, **tags, **case.settings}).run(date, **PARAMS)

    assert run.ok == case.succeeds, run.error
    assert [text for text in case.messages if text not in run.log] == []
    alerts = [alert["Message"] for alert in topic.received()]
    assert [case.messages[0] in alert for alert in alerts] == ([] if case.succeeds else [True])
    assert tuple(state for state, _ in orchard.cluster_states()[clusters:]) == case.clusters
    assert orchard.aws.active_clusters() == []
    after = orchard.published()
    assert (after == before) == (not case.succeeds)
    if not case.succeeds:
        again = orchard.run(date, **PARAMS)
        assert again.ok, again.error
        after = orchard.published()
    # The folder of a failed run stays its own: the second DAG run of the date gets another one.
    assert after["run"] == f"{date}T000000Z-fruits_features{'' if case.succeeds else '-2'}"
    assert (case.fault == "s3-endpoint") <= bool(s3_proxy.failed[Fault.SLOW_DOWN])
    name = case.fault.partition(":")[0]
    assert (name in STEP_FAULTS) == (f"injected the fault {name}" in _controllers(orchard, clusters))


def _put_new_images(orchard: Pipeline, folder: Path, seed: int) -> None:
    """Upload new images under the same names, so that features have to be extracted."""
    generate(folder, make_plan(["Avocado", "Banana"], 16), seed=seed, jobs=1, progress=False)
    orchard.put_folder(folder)


def _controllers(orchard: Pipeline, clusters: int) -> str:
    """Return the controller logs of the steps of all clusters after the first `clusters`."""
    texts = []
    for cluster in orchard.cluster_ids()[clusters:]:
        prefix = f"logs/emr/{cluster}/steps/"
        listed = orchard.s3.list_objects_v2(Bucket=orchard.bucket, Prefix=prefix).get("Contents", [])
        keys = [entry["Key"] for entry in listed if entry["Key"].endswith("controller.gz")]
        texts += [gzip.decompress(orchard.get(f"s3://{orchard.bucket}/{key}")).decode() for key in keys]
    return "".join(texts)


def test_janitor_ends_the_cluster_of_an_unknown_run_only(orchard: Pipeline) -> None:
    emr, instances = orchard.aws.emr(), {"KeepJobFlowAliveWhenNoSteps": True}
    orphan, other = (
        emr.run_job_flow(Name=owner.cluster_name, Tags=owner.tags(), Instances=instances)["JobFlowId"]
        for owner in (ClusterOwner(deployment, "fruits_features", "deleted") for deployment in ("faults", "another"))
    )

    run = orchard.run("2026-05-30", dag_id="fruits_janitor")

    assert run.ok, run.error
    assert f"Cluster {orphan} (fruits fruits_features deleted): run state unknown, action ended." in run.log
    emr.get_waiter("cluster_terminated").wait(ClusterId=orphan, WaiterConfig={"Delay": 1})
    assert orchard.aws.active_clusters() == [other]
    emr.terminate_job_flows(JobFlowIds=[other])
    emr.get_waiter("cluster_terminated").wait(ClusterId=other, WaiterConfig={"Delay": 1})
