"""Each fault of AWS: what the run says, that no cluster stays, that what is published stays whole, that a rerun helps.

The faults of Airflow's own processes are in `test_airflow_faults.py`.
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
from tests.support.airflow.faults import OF_AWS, Case
from tests.support.airflow.pipeline import Pipeline
from tests.support.airflow.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

PARAMS = {"k": 3, "force": True}  # the images stay the same
OF_A_RUNNING_STEP = {"driver-killed", "executor-killed", "node-terminated"}
SETTINGS = {"FRUITS_DEPLOYMENT": "faults", "FRUITS_LOG_WAIT_S": "5", "FRUITS_EMR_POLL_S": "1"}


@pytest.fixture(scope="module")
def topic(local_aws: LocalAws) -> Iterator[Topic]:
    with closing(Topic(local_aws, "faults")) as topic:
        yield topic


@pytest.fixture(scope="module")
def orchard(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], topic: Topic, tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A bucket of its own, with something published."""
    environment = {**airflow_environment, **SETTINGS, "FRUITS_ALERT_TOPIC_ARN": topic.arn}
    orchard = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("faults"), environment)
    _put_new_images(orchard, tmp_path_factory.mktemp("images"), seed=1)
    run = orchard.run("2026-05-01", **PARAMS)
    assert run.ok, run.why
    return orchard


@pytest.fixture(scope="module")
def trouble(local_aws: LocalAws) -> Iterator[S3FaultProxy]:
    """An S3 that answers the first GET of each object with 503."""
    server = urlsplit(local_aws.environment["AWS_ENDPOINT_URL_S3"])
    with S3FaultProxy((str(server.hostname), int(server.port or 0)), faults=first(1, Fault.SLOW_DOWN)) as trouble:
        yield trouble


@pytest.mark.parametrize("dated", list(enumerate(OF_AWS, 2)), ids=[case.injected for case in OF_AWS])
def test_fault_is_told_leaves_no_cluster_and_nothing_half_published(
    dated: tuple[int, Case], orchard: Pipeline, topic: Topic, trouble: S3FaultProxy, tmp_path: Path
) -> None:
    day, case = dated
    _put_new_images(orchard, tmp_path, seed=day)
    date, before, clusters = f"2026-05-{day:02}", orchard.published(), len(orchard.cluster_states())
    fault = f"{case.fault}:{trouble.url}" if case.fault == "s3-endpoint" else case.fault
    tags = {"FRUITS_EMR_TAGS": json.dumps({FAULT_TAG: fault} if fault else {})}

    run = replace(orchard, environment={**orchard.environment, **tags, **case.settings}).run(date, **PARAMS)

    assert run.ok == case.succeeds, run.why
    assert [words for words in case.says if words not in run.log] == []
    alerts = [alert["Message"] for alert in topic.told()]
    assert [case.says[0] in alert for alert in alerts] == ([] if case.succeeds else [True])
    assert tuple(state for state, _ in orchard.cluster_states()[clusters:]) == case.clusters
    assert orchard.aws.active_clusters() == []
    after = orchard.published()
    assert (after == before) == (not case.succeeds)
    if not case.succeeds:
        again = orchard.run(date, **PARAMS)
        assert again.ok, again.why
        after = orchard.published()
    assert after["run"] == f"{date}T000000Z-fruits_features"
    assert (case.fault == "s3-endpoint") <= bool(trouble.failed[Fault.SLOW_DOWN])
    assert (case.fault in OF_A_RUNNING_STEP) == (f"injected the fault {case.fault}" in _controllers(orchard, clusters))


def _put_new_images(orchard: Pipeline, folder: Path, seed: int) -> None:
    """Let there be something to describe: images of the same names are other ones."""
    generate(folder, make_plan(["Avocado", "Banana"], 16), seed=seed, jobs=1, progress=False)
    orchard.put_folder(folder)


def _controllers(orchard: Pipeline, clusters: int) -> str:
    """What EMR says of the steps of all clusters but the first ones."""
    texts = []
    for cluster in orchard.cluster_ids()[clusters:]:
        prefix = f"logs/emr/{cluster}/steps/"
        listed = orchard.s3.list_objects_v2(Bucket=orchard.bucket, Prefix=prefix).get("Contents", [])
        keys = [one["Key"] for one in listed if one["Key"].endswith("controller.gz")]
        texts += [gzip.decompress(orchard.get(f"s3://{orchard.bucket}/{key}")).decode() for key in keys]
    return "".join(texts)


def test_janitor_ends_the_cluster_of_an_unknown_run_and_no_others(orchard: Pipeline) -> None:
    emr, instances = orchard.aws.emr(), {"KeepJobFlowAliveWhenNoSteps": True}
    forgotten, others = (
        emr.run_job_flow(Name=origin.cluster_name, Tags=origin.tags(), Instances=instances)["JobFlowId"]
        for origin in (ClusterOwner(deployment, "fruits_features", "deleted") for deployment in ("faults", "another"))
    )

    run = orchard.run("2026-05-30", dag_id="fruits_janitor")

    assert run.ok, run.why
    assert f"Cluster {forgotten} (fruits fruits_features deleted): its run is unknown, it is ended." in run.log
    emr.get_waiter("cluster_terminated").wait(ClusterId=forgotten, WaiterConfig={"Delay": 1})
    assert orchard.aws.active_clusters() == [others]
    emr.terminate_job_flows(JobFlowIds=[others])
    emr.get_waiter("cluster_terminated").wait(ClusterId=others, WaiterConfig={"Delay": 1})
