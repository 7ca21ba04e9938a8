"""A client that creates clusters and waits for them, without Spark."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws


class Emr:
    """Client of EMR, with deadlines."""

    def __init__(self, aws: LocalAws, bucket: str) -> None:
        self.api = aws.emr()
        self.s3 = aws.s3()
        self.bucket = bucket

    def create(self, *, keep: bool = True, **more: Any) -> str:  # noqa: ANN401 - boto3's own request
        """Create a cluster with one master; return its id."""
        instances = {"KeepJobFlowAliveWhenNoSteps": keep} | more.pop("Instances", {})
        request = {"Name": "test", "LogUri": f"s3://{self.bucket}/logs/emr/", "JobFlowRole": "EMR_EC2_DefaultRole"}
        groups = [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}]
        answer = self.api.run_job_flow(**{**request, "Instances": {"InstanceGroups": groups, **instances}, **more})
        return answer["JobFlowId"]

    def step(self, *command: str, on_failure: str = "CONTINUE", jar: str = "command-runner.jar") -> dict[str, Any]:
        """Return the configuration of a step that runs a command."""
        return {"Name": "step", "ActionOnFailure": on_failure, "HadoopJarStep": {"Jar": jar, "Args": list(command)}}

    def add(self, cluster: str, *steps: dict[str, Any]) -> list[str]:
        """Add steps; return their ids."""
        return self.api.add_job_flow_steps(JobFlowId=cluster, Steps=list(steps))["StepIds"]

    def status(self, cluster: str) -> dict[str, Any]:
        """Return a cluster's status."""
        return self.api.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]

    def step_status(self, cluster: str, step: str) -> dict[str, Any]:
        """Return a step's status."""
        return self.api.describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]

    def step_states(self, cluster: str) -> list[str]:
        """Return the states of all steps, the oldest first."""
        return [step["Status"]["State"] for step in reversed(self.api.list_steps(ClusterId=cluster)["Steps"])]

    def wait(self, cluster: str, *states: str) -> dict[str, Any]:
        """Wait until a cluster is in one of the states; return its status."""
        return wait_for(lambda: self.status(cluster), lambda status: status["State"] in states)

    def wait_step(self, cluster: str, step: str, *states: str) -> dict[str, Any]:
        """Wait until a step is in one of the states; return its status."""
        return wait_for(lambda: self.step_status(cluster, step), lambda status: status["State"] in states)

    def log(self, key: str) -> str:
        """Return a log below LogUri, unpacked."""
        return gzip.decompress(self.s3.get_object(Bucket=self.bucket, Key=f"logs/emr/{key}")["Body"].read()).decode()


@pytest.fixture
def emr(local_aws: LocalAws, bucket: str) -> Iterator[Emr]:
    """Yield a client of EMR, without active clusters before and after the test."""
    client = Emr(local_aws, bucket)
    _terminate_all(local_aws, client)
    yield client
    _terminate_all(local_aws, client)


def _terminate_all(aws: LocalAws, emr: Emr) -> None:
    if active := aws.active_clusters():
        emr.api.set_termination_protection(JobFlowIds=active, TerminationProtected=False)
        emr.api.terminate_job_flows(JobFlowIds=active)
        wait_for(aws.active_clusters, lambda clusters: not clusters)
