"""Failure messages contain EMR's reason and, if known, a remedy; the log contains the last lines of output."""

from __future__ import annotations

import gzip
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fruits_airflow.emr.diagnosis import ClusterDiagnosis
from fruits_airflow.emr.logs import TAIL_LINES, ClusterLogs
from fruits_airflow.emr.remedies import REMEDIES, remedy_for

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

NODE = "i-0123456789abcdef0"
BOOTSTRAP = f"On the master instance ({NODE}), bootstrap action 1 returned a non-zero return code"
ENDED = "WARN Step failed with exitCode 1 and took 20 seconds"

MESSAGES = [
    # EMR Management Guide, "Error codes with ErrorDetail information"
    ("INTERNAL_ERROR, INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ: …", "has no capacity"),
    ("INTERNAL_ERROR, INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY: …", "has no capacity"),
    ("INTERNAL_ERROR, INTERNAL_ERROR_SPOT_PRICE_INCREASE_PRIMARY: …", "EC2 terminated an instance"),
    ("VALIDATION_ERROR, VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED: …", "does not offer this instance type"),
    ("INSTANCE_FLEET_TIMEOUT: …", "has no capacity"),  # API reference, ClusterStateChangeReason
    (f"BOOTSTRAP_FAILURE: {BOOTSTRAP}", "could not be prepared"),
    (
        "INSTANCE_FAILURE: The master node was terminated",
        "EC2 terminated an instance",
    ),  # mrjob issue 1822, also the next message
    ("INSTANCE_FAILURE: All instances in the job flow are terminated", "EC2 terminated an instance"),
    # EC2 API reference, "Error codes"
    ("InsufficientInstanceCapacity: We currently do not have sufficient capacity in the zone", "has no capacity"),
    ("VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 32", "Service Quotas"),
    # responses of the service, quoted in public issues
    (
        "There are not enough free addresses in subnet 'subnet-1' to satisfy the requested number of instances.",
        "larger",
    ),
    ("InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses.", "larger subnet"),
    ("VALIDATION_ERROR: EMR service role arn:aws:iam::1:role/EMR_DefaultRole is invalid", "FRUITS_EMR_SERVICE_ROLE"),
    (
        "VALIDATION_ERROR: Service role arn:aws:iam::1:role/x has insufficient EC2 permissions",
        "FRUITS_EMR_SERVICE_ROLE",
    ),
    ("ValidationException: Invalid InstanceProfile: nobody", "FRUITS_EMR_INSTANCE_PROFILE"),
    ("ValidationException: Instance type 'r5b.xlarge' is not supported", "does not offer this instance type"),
    (
        "VALIDATION_ERROR: The requested instance type c1.medium is not supported in the requested availability zone",
        "does not offer this instance type",
    ),
    ("ValidationException: The supplied release label is invalid: emr-5.3.1", "FRUITS_EMR_RELEASE"),
    ("AccessDeniedException: User: x is not authorized to perform: iam:PassRole on resource: y", "iam:PassRole"),
    ("AccessDeniedException: User: x is not authorized to perform: elasticmapreduce:RunJobFlow", "lacks a permission"),
    ("An error occurred (AccessDenied) when calling the GetObject operation: Access Denied", "lacks a permission"),
    ("ThrottlingException: Rate exceeded", "AWS throttled requests"),  # re:Post, emr-cluster-status-throttling-error
    ("ExpiredTokenException: The security token included in the request is expired", "credentials expired"),
    ("java.lang.OutOfMemoryError: Java heap space", "Memory ran out"),
    ("Container killed by YARN for exceeding physical memory limits. 11.1 GB of 11 GB", "Memory ran out"),
    ("Unknown Error: WARN Step failed with exitCode 137 and took 20 seconds", "Memory ran out"),
    # fruits_features.job.run
    ("fruits_features: error: 9 of 10 images were quarantined (truncated: 9), more than", "max_quarantine_share"),
]


@pytest.mark.parametrize(("message", "fragment"), MESSAGES)
def test_known_failure_has_a_remedy(message: str, fragment: str) -> None:
    assert fragment in remedy_for(message)


def test_every_remedy_is_used_for_some_message() -> None:
    assert {remedy_for(message) for message, _ in MESSAGES} == {remedy.sentence for remedy in REMEDIES}


def test_unknown_failure_has_no_remedy() -> None:
    assert remedy_for("Unknown Error: 7 of 55 images quarantined (truncated: 7); see s3://b/q") == ""


class Logs:
    """Logs of cluster j-1 in a separate bucket."""

    def __init__(self, aws: LocalAws, bucket: str) -> None:
        self.s3, self.bucket = aws.s3(), bucket
        self.of = ClusterLogs.of(self.s3, {"Id": "j-1", "LogUri": f"s3n://{bucket}/some/prefix/"})

    def put(self, path: str, text: str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"some/prefix/j-1/{path}", Body=gzip.compress(text.encode()))

    def emr(self, step: dict[str, Any], cluster: dict[str, Any]) -> Any:  # noqa: ANN401
        described = {"Id": "j-1", "LogUri": f"s3://{self.bucket}/some/prefix", "Status": cluster}
        return SimpleNamespace(
            describe_step=lambda **_: {"Step": {"Status": step}}, describe_cluster=lambda **_: {"Cluster": described}
        )

    def diagnosis(self, step: dict[str, Any], cluster: dict[str, Any]) -> ClusterDiagnosis:
        return ClusterDiagnosis(self.emr(step, cluster), self.s3, "j-1", log_wait_s=0)


@pytest.fixture
def logs(local_aws: LocalAws, bucket: str) -> Logs:
    return Logs(local_aws, bucket)


def test_logs_of_a_step_are_the_last_lines_of_both_streams(logs: Logs) -> None:
    logs.put("steps/s-1/stderr.gz", "\n".join(str(n) for n in range(100)))
    logs.put("steps/s-1/stdout.txt.gz", "Error: no space\n")
    logs.put("steps/s-1/controller.gz", ENDED)

    tails = logs.of.of_step("s-1", wait_s=0)

    assert tails.keys() == {"stderr", "stdout"}
    assert tails["stdout"] == "Error: no space"
    assert tails["stderr"].splitlines() == [str(n) for n in range(100 - TAIL_LINES, 100)]


def test_logs_of_a_step_are_awaited_until_the_controller_logs_its_end(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.put("steps/s-1/stderr.gz", "first half of an error")
    logs.put("steps/s-1/controller.gz", "INFO startExec")

    def deliver(_: float) -> None:
        logs.put("steps/s-1/stderr.gz", "both halves of an error")
        logs.put("steps/s-1/controller.gz", ENDED)

    monkeypatch.setattr("fruits_airflow.emr.logs.time.sleep", deliver)

    assert logs.of.of_step("s-1", wait_s=60) == {"stderr": "both halves of an error"}


def test_logs_that_are_not_delivered_in_time_are_empty(logs: Logs) -> None:
    assert logs.of.of_step("s-1", wait_s=0.2) == {}


def test_cluster_without_logs_is_not_waited_for(local_aws: LocalAws) -> None:
    without = ClusterLogs.of(local_aws.s3(), {"Id": "j-1"})

    assert without.of_step("s-1", wait_s=3600) == without.of_bootstrap(BOOTSTRAP, wait_s=3600) == {}


def test_step_without_an_error_in_its_output_shows_its_containers_and_controller(logs: Logs) -> None:
    logs.put("steps/s-1/stderr.gz", "WARN Utils: Service could not bind on port 4040")
    logs.put("steps/s-1/controller.gz", ENDED)
    logs.put("containers/application_1_1/container_1_1_01_000002/stderr.gz", "java.lang.OutOfMemoryError: heap")
    logs.put("containers/application_1_1/container_1_1_01_000002/prelaunch.out.gz", "Setting up")

    tails = logs.of.of_step("s-1", wait_s=0)

    container = "containers/application_1_1/container_1_1_01_000002/stderr.gz"
    assert tails.keys() == {"stderr", container, "controller"}
    assert (tails[container], tails["controller"]) == ("java.lang.OutOfMemoryError: heap", ENDED)


def test_failed_step_reports_reason_message_and_the_remedy_for_its_log(
    logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    logs.put("steps/s-1/stderr.gz", "java.lang.OutOfMemoryError: Java heap space")
    logs.put("steps/s-1/controller.gz", ENDED)
    failed = {"State": "FAILED", "FailureDetails": {"Reason": "Unknown Error.", "Message": "trouble"}}

    sentence = logs.diagnosis(failed, {"State": "RUNNING"}).of_step("s-1")

    assert sentence.startswith("Step s-1 of cluster j-1 is FAILED (Unknown Error: trouble). Memory ran out. Turn off")
    assert "Last lines of the step's stderr:\njava.lang.OutOfMemoryError" in caplog.text


def test_step_cancelled_with_its_cluster_reports_the_clusters_end(logs: Logs) -> None:
    reason = {"Code": "INSTANCE_FAILURE", "Message": "The master node was terminated"}
    ended = {"State": "TERMINATED_WITH_ERRORS", "StateChangeReason": reason}

    sentence = logs.diagnosis({"State": "CANCELLED"}, ended).of_step("s-1")

    assert "the cluster is TERMINATED_WITH_ERRORS (INSTANCE_FAILURE: The master node was terminated). EC2" in sentence


def test_failed_bootstrap_shows_the_output_of_its_action_on_its_node(
    logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    logs.put(f"node/{NODE}/bootstrap-actions/1/stderr.gz", "no such package")
    logs.put("node/i-0fedcba9876543210/bootstrap-actions/1/stderr.gz", "another node's")
    reason = {"Code": "BOOTSTRAP_FAILURE", "Message": BOOTSTRAP}

    sentence = logs.diagnosis({}, {"State": "TERMINATED_WITH_ERRORS", "StateChangeReason": reason}).of_cluster()

    assert "bootstrap action 1 returned a non-zero return code). The nodes could not be prepared" in sentence
    assert "Last lines of the bootstrap action's stderr:\nno such package" in caplog.text
    assert "another node's" not in caplog.text


def test_cluster_without_capacity_reports_the_detailed_error_code(logs: Logs) -> None:
    code = "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
    reason = {"Code": "INTERNAL_ERROR", "Message": "…"}
    status = {"State": "TERMINATED_WITH_ERRORS", "StateChangeReason": reason, "ErrorDetails": [{"ErrorCode": code}]}

    sentence = logs.diagnosis({}, status).of_cluster()

    assert f"INTERNAL_ERROR, {code}: …" in sentence
    assert "EC2 has no capacity" in sentence


def test_ending_cluster_is_awaited_because_its_errors_may_come_with_its_end(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {"State": "TERMINATING", "StateChangeReason": {"Code": "INTERNAL_ERROR", "Message": "…"}}
    ended = {"State": "TERMINATED_WITH_ERRORS", "ErrorDetails": [{"ErrorCode": "INTERNAL_ERROR_EC2_SOME"}]}
    monkeypatch.setattr("fruits_airflow.emr.logs.time.sleep", lambda _: status.update(ended))

    sentence = replace(logs.diagnosis({}, status), log_wait_s=60).of_cluster()

    assert sentence.startswith("Cluster j-1 is TERMINATED_WITH_ERRORS (INTERNAL_ERROR, INTERNAL_ERROR_EC2_SOME: …)")
