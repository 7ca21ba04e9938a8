"""A cluster's states, reasons and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.state import DEFAULT_BUCKET
from tests.support.waiting import wait_for
from tests.unit.include.dev.local_aws.conftest import Emr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")


@pytest.fixture(scope="module")
def unhurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emr]:
    """A client of a local AWS whose clusters stay in each state long enough to be seen by a busy machine."""
    with LocalAws(tmp_path_factory.mktemp("unhurried"), state_s=3.0) as aws:
        yield Emr(aws, DEFAULT_BUCKET)


def states_until(emr: Emr, cluster: str, last: str) -> list[str]:
    seen: list[str] = []

    def observe() -> str:
        state: str = emr.status(cluster)["State"]
        if state not in seen[-1:]:
            seen.append(state)
        return state

    wait_for(observe, lambda state: state == last)
    return seen


def refused(call: Callable[..., object], **arguments: Any) -> tuple[str, str]:  # noqa: ANN401 - boto3's own
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def test_cluster_kept_alive_goes_through_states_in_order_until_the_user_terminates_it(unhurried: Emr) -> None:
    cluster = unhurried.create()
    assert states_until(unhurried, cluster, "WAITING") == ["STARTING", "BOOTSTRAPPING", "WAITING"]
    status = unhurried.status(cluster)
    assert status["StateChangeReason"] == {"Message": "Cluster ready to run steps."}
    assert status["Timeline"]["CreationDateTime"] <= status["Timeline"]["ReadyDateTime"]
    assert "EndDateTime" not in status["Timeline"]

    unhurried.api.terminate_job_flows(JobFlowIds=[cluster])

    assert states_until(unhurried, cluster, "TERMINATED")[-2:] == ["TERMINATING", "TERMINATED"]
    status = unhurried.status(cluster)
    assert status["StateChangeReason"] == {"Code": "USER_REQUEST", "Message": "Terminated by user request"}
    assert status["Timeline"]["EndDateTime"] >= status["Timeline"]["ReadyDateTime"]


def test_cluster_terminated_while_starting_never_runs_its_step(unhurried: Emr) -> None:
    cluster = unhurried.create(Steps=[unhurried.step("true")])
    unhurried.api.terminate_job_flows(JobFlowIds=[cluster])
    assert unhurried.wait(cluster, *ENDED)["State"] == "TERMINATED"
    assert unhurried.step_states(cluster) == ["CANCELLED"]


def test_cluster_not_kept_alive_runs_its_steps_and_ends(emr: Emr) -> None:
    cluster = emr.create(keep=False, Steps=[emr.step("true"), emr.step("true")])
    status = emr.wait(cluster, *ENDED)
    assert (status["State"], status["StateChangeReason"]["Code"]) == ("TERMINATED", "ALL_STEPS_COMPLETED")
    assert emr.step_states(cluster) == ["COMPLETED", "COMPLETED"]


def test_cluster_not_kept_alive_with_failed_step_ends_with_steps_completed_with_errors(emr: Emr) -> None:
    cluster = emr.create(keep=False, Steps=[emr.step("false"), emr.step("true")])
    status = emr.wait(cluster, *ENDED)
    assert status["State"] == "TERMINATED"
    assert status["StateChangeReason"] == {"Code": "STEP_FAILURE", "Message": "Steps completed with errors"}
    assert emr.step_states(cluster) == ["FAILED", "COMPLETED"]


def test_protected_cluster_rejects_termination(emr: Emr) -> None:
    cluster = emr.create(Instances={"TerminationProtected": True})
    emr.wait(cluster, "WAITING")
    code, message = refused(emr.api.terminate_job_flows, JobFlowIds=[cluster])
    assert (code, "termination protected" in message) == ("ValidationException", True)
    assert emr.status(cluster)["State"] == "WAITING"


def test_step_added_to_terminated_cluster_is_rejected(emr: Emr) -> None:
    cluster = emr.create(keep=False)
    emr.wait(cluster, "TERMINATED")
    code, message = refused(emr.api.add_job_flow_steps, JobFlowId=cluster, Steps=[emr.step("true")])
    assert code == "ValidationException"
    assert message == "A job flow that is shutting down, terminated, or finished may not be modified."
    assert emr.status(cluster)["State"] == "TERMINATED"


def test_termination_of_terminated_cluster_changes_nothing(emr: Emr) -> None:
    cluster = emr.create(keep=False)
    before = emr.wait(cluster, "TERMINATED")
    emr.api.terminate_job_flows(JobFlowIds=[cluster])
    assert emr.status(cluster) == before


def test_unknown_ids_are_rejected_as_by_emr(emr: Emr) -> None:
    cluster = emr.create()
    unknown = {"ClusterId": "j-UNKNOWN"}
    for call, arguments in (
        (emr.api.describe_cluster, unknown),
        (emr.api.list_steps, unknown),
        (emr.api.list_bootstrap_actions, unknown),
        (emr.api.describe_step, {**unknown, "StepId": "s-UNKNOWN"}),
        (emr.api.cancel_steps, {**unknown, "StepIds": ["s-UNKNOWN"]}),
    ):
        assert refused(call, **arguments) == ("InvalidRequestException", "Cluster id 'j-UNKNOWN' is not valid.")
    assert refused(emr.api.describe_step, ClusterId=cluster, StepId="s-UNKNOWN") == (
        "InvalidRequestException",
        "Step id 's-UNKNOWN' is not valid.",
    )
    for call, arguments in (
        (emr.api.add_job_flow_steps, {"JobFlowId": "j-UNKNOWN", "Steps": [emr.step("true")]}),
        (emr.api.terminate_job_flows, {"JobFlowIds": ["j-UNKNOWN"]}),
    ):
        assert refused(call, **arguments) == ("ValidationException", "Specified job flow ID does not exist.")


def test_cluster_with_unknown_instance_profile_is_rejected(emr: Emr, local_aws: LocalAws) -> None:
    code, message = refused(emr.create, JobFlowRole="nobody")
    assert (code, message) == ("ValidationException", "Invalid InstanceProfile: nobody.")
    assert local_aws.active_clusters() == []


def test_cluster_with_unknown_service_role_ends_with_validation_error(emr: Emr) -> None:
    status = emr.wait(emr.create(ServiceRole="nobody"), *ENDED)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"] == {"Code": "VALIDATION_ERROR", "Message": "EMR service role nobody is invalid"}


def test_policies_are_returned(emr: Emr) -> None:
    cluster = emr.create(AutoTerminationPolicy={"IdleTimeout": 600})
    read = emr.api.get_auto_termination_policy
    assert read(ClusterId=cluster)["AutoTerminationPolicy"] == {"IdleTimeout": 600}
    emr.api.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 90})
    assert read(ClusterId=cluster)["AutoTerminationPolicy"] == {"IdleTimeout": 90}
    emr.api.remove_auto_termination_policy(ClusterId=cluster)
    assert "AutoTerminationPolicy" not in read(ClusterId=cluster)
    limits = {"ComputeLimits": {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 3}}
    emr.api.put_managed_scaling_policy(ClusterId=cluster, ManagedScalingPolicy=limits)
    assert emr.api.get_managed_scaling_policy(ClusterId=cluster)["ManagedScalingPolicy"] == limits


def test_clusters_are_listed_by_state_and_keep_their_tags(emr: Emr) -> None:
    waiting, ended = emr.create(Tags=[{"Key": "run", "Value": "7"}]), emr.create(keep=False)
    emr.wait(waiting, "WAITING")
    emr.wait(ended, "TERMINATED")
    listed = {one["Id"] for one in emr.api.list_clusters(ClusterStates=["WAITING"])["Clusters"]}
    assert (waiting in listed, ended in listed) == (True, False)
    assert emr.api.describe_cluster(ClusterId=waiting)["Cluster"]["Tags"] == [{"Key": "run", "Value": "7"}]


def test_bootstrap_actions_run_in_order_with_arguments_before_steps(emr: Emr, tmp_path: Path) -> None:
    record = tmp_path / "order"
    script = b'#!/bin/bash\necho "$@" >> "$1"; echo out; echo err >&2\n'
    emr.s3.put_object(Bucket=emr.bucket, Key="boot strap.sh", Body=script)
    actions = [
        {
            "Name": name,
            "ScriptBootstrapAction": {"Path": f"s3://{emr.bucket}/boot strap.sh", "Args": [str(record), name]},
        }
        for name in ("first", "second")
    ]
    steps = [emr.step("bash", "-c", f"echo step >> '{record}'")]
    cluster = emr.create(keep=False, BootstrapActions=actions, Steps=steps)
    emr.wait(cluster, "TERMINATED")
    assert record.read_text().splitlines() == [f"{record} first", f"{record} second", "step"]
    node = emr.api.list_instances(ClusterId=cluster)["Instances"][0]["Ec2InstanceId"]
    assert emr.log(f"{cluster}/node/{node}/bootstrap-actions/2/stdout.gz") == "out\n"
    assert emr.log(f"{cluster}/node/{node}/bootstrap-actions/2/stderr.gz") == "err\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (b"exit 3", "bootstrap action 1 returned a non-zero return code"),
        (None, "failed attempting to download bootstrap action 1 file from S3"),
    ],
)
def test_bootstrap_failure_ends_cluster_before_its_steps(emr: Emr, script: bytes | None, message: str) -> None:
    if script:
        emr.s3.put_object(Bucket=emr.bucket, Key="boot.sh", Body=script)
    action = {"Name": "boot", "ScriptBootstrapAction": {"Path": f"s3://{emr.bucket}/boot.sh"}}
    cluster = emr.create(BootstrapActions=[action], Steps=[emr.step("true")])
    status = emr.wait(cluster, *ENDED)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    assert message in status["StateChangeReason"]["Message"]
    assert emr.step_states(cluster) == ["CANCELLED"]


def test_s3_request_to_emr_endpoint_is_rejected(local_aws: LocalAws) -> None:
    import boto3

    environment = local_aws.environment
    lost = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name="eu-west-1",
    )
    code, message = refused(lost.list_buckets)
    assert code == "InvalidRequest"
    assert "AWS_ENDPOINT_URL_S3" in message
