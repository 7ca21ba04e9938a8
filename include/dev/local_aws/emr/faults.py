"""Faults of a cluster, selected by its tag `local-aws:fault` = `<fault>` or `<fault>:<argument>`.

EMR ignores the tag. The local EMR applies the fault to this one cluster, from RunJobFlow to the last step. A test thus
injects a fault through the deployment's setting of additional tags. Sources of what a client sees:

* Codes and states: botocore's service model, `ClusterStateChangeReasonCode` and `ErrorDetail`; Management Guide,
  "Error codes with ErrorDetail information" (`INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ` and its ErrorData).
* "The supplied release label is invalid", "EMR service role … is invalid", "The master node was terminated" and
  "Rate exceeded" (ThrottlingException): answers of the service quoted in public issues, in mrjob, and on re:Post's page
  "emr-cluster-status-throttling-error".
* `VcpuLimitExceeded`, and the rejection of `iam:PassRole`: error messages of EC2 and IAM, which EMR passes on.
* `ExpiredTokenException`: "Common errors" of the API reference.
* A process killed by SIGKILL: exit code 137, as a shell reports it, and nothing on stderr.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from moto.core.exceptions import ServiceException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from include.dev.local_aws.node.step_process import StepProcess

FAULT_TAG = "local-aws:fault"
KILL_AFTER_S = 1.0
TERMINATED_AFTER_S = 1.0
EXECUTOR_CLASS = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


class Fault(StrEnum):
    """Faults, with the meaning of the argument in brackets."""

    REFUSED_FOR_LIMIT = "refused-for-limit"
    REFUSED_FOR_ROLE = "refused-for-role"
    REFUSED_AS_INVALID = "refused-as-invalid"
    ANSWER_LOST = "answer-lost"
    ANSWER_LATE = "answer-late"
    """The answers of RunJobFlow and AddJobFlowSteps are delayed [seconds]."""
    THROTTLED = "throttled"
    """The first calls of each action are rejected [number of calls]."""
    CREDENTIALS_EXPIRED = "credentials-expired"
    """One ListSteps is rejected [its number, from 1]."""
    NO_CAPACITY = "no-capacity"
    BOOTSTRAP_FAILED = "bootstrap-failed"
    NODE_TERMINATED = "node-terminated"
    """EC2 reclaims the master's spot instance while a step runs [number of the step, from 1; any by default]."""
    STEP_FAILED = "step-failed"
    STEP_HANGS = "step-hangs"
    DRIVER_KILLED = "driver-killed"
    EXECUTOR_KILLED = "executor-killed"
    """Executors run as separate processes. The first one that starts a Python worker is killed."""
    S3_ENDPOINT = "s3-endpoint"
    """Steps use another S3 endpoint [its URL], for example a fault proxy."""


class Injected(NamedTuple):
    """A fault and its argument."""

    fault: Fault
    argument: str = ""

    @classmethod
    def of(cls, tags: Iterable[Mapping[str, str]]) -> Injected | None:
        """Return the fault that a cluster's tags name, or `None`.

        >>> Injected.of([{"Key": "local-aws:fault", "Value": "throttled:3"}])
        Injected(fault=<Fault.THROTTLED: 'throttled'>, argument='3')

        Raises:
            ValueError: The fault is unknown.
        """
        value = next((tag["Value"] for tag in tags if tag["Key"] == FAULT_TAG), None)
        if value is None:
            return None
        fault, _, argument = value.partition(":")
        return cls(Fault(fault), argument)


class Refused(ServiceException):
    """Error answer to a rejected call."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Refusals:
    """Rejects API calls, and counts the calls of faults that reject only some of them."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def check(self, action: str, cluster: str, injected: Injected | None, request: Mapping[str, Any]) -> None:
        """Check whether the fault rejects a call.

        Args:
            action: Name of the API action.
            cluster: Id of the cluster, or its name before it has an id.
            injected: Fault of the cluster.
            request: Parameters of the call.

        Raises:
            Refused: The call is rejected.
        """
        if injected is None:
            return
        if action == "RunJobFlow":
            _refuse_run_job_flow(injected.fault, request)
        if injected.fault not in {Fault.THROTTLED, Fault.CREDENTIALS_EXPIRED}:
            return
        nth, limit = self._count(action, cluster), int(injected.argument)
        if injected.fault is Fault.THROTTLED and nth <= limit:
            raise Refused("ThrottlingException", "Rate exceeded")
        if injected.fault is Fault.CREDENTIALS_EXPIRED and action == "ListSteps" and nth == limit:
            raise Refused("ExpiredTokenException", "The security token included in the request is expired")

    def _count(self, action: str, cluster: str) -> int:
        with self._lock:
            self._seen[action, cluster] += 1
            return self._seen[action, cluster]


def _refuse_run_job_flow(fault: Fault, request: Mapping[str, Any]) -> None:
    if fault is Fault.REFUSED_FOR_LIMIT:
        raise Refused(
            "ValidationException",
            "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 32 allows for "
            "the instance bucket that the specified instance type belongs to.",
        )
    if fault is Fault.REFUSED_FOR_ROLE:
        raise Refused(
            "AccessDeniedException",
            "User: arn:aws:sts::123456789012:assumed-role/airflow/x is not authorized to perform: iam:PassRole on "
            f"resource: arn:aws:iam::123456789012:role/{request.get('ServiceRole')}",
        )
    if fault is Fault.REFUSED_AS_INVALID:
        raise Refused("ValidationException", f"The supplied release label is invalid: {request.get('ReleaseLabel')}.")


def no_capacity(instance_type: str) -> tuple[str, str, dict[str, Any]]:
    """Return code, message and ErrorDetail of a cluster for which EC2 has no capacity."""
    message = (
        f"Instance type {instance_type} has insufficient capacity in the availability zone eu-west-1a: use another "
        "instance type, or another subnet."
    )
    data = [{"instance-type": instance_type}, {"availability-zone": "eu-west-1a"}]
    code = "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
    return "INTERNAL_ERROR", message, {"ErrorCode": code, "ErrorData": data, "ErrorMessage": message}


def of_step(injected: Injected | None, number: int) -> Injected | None:
    """Return the fault if it applies to a step.

    Args:
        injected: Fault of the cluster.
        number: Number of the step, from 1.
    """
    if injected and injected.fault is Fault.NODE_TERMINATED and injected.argument not in {"", str(number)}:
        return None
    return injected


def command_of(injected: Injected | None, command: list[str]) -> list[str]:
    """Return the command that a step runs: its own, or that of the fault."""
    if injected is None:
        return command
    replacements = {
        Fault.STEP_FAILED: ["sh", "-c", "echo 'the application gave up' >&2; exit 1"],
        Fault.STEP_HANGS: ["sleep", "86400"],
        Fault.NODE_TERMINATED: ["sleep", "86400"],
    }
    return replacements.get(injected.fault, command)


def bootstrap_of(injected: Injected | None, script: bytes) -> bytes:
    """Return the script that a bootstrap action runs: its own, or that of the fault."""
    if injected and injected.fault is Fault.BOOTSTRAP_FAILED:
        return b"#!/bin/sh\necho 'No matching distribution found for numpy' >&2\nexit 1\n"
    return script


def environment_of(injected: Injected | None) -> dict[str, str]:
    """Return the environment variables that the fault changes for a step."""
    if injected and injected.fault is Fault.S3_ENDPOINT:
        return {"AWS_ENDPOINT_URL_S3": injected.argument}
    return {}


def spark_of(injected: Injected | None) -> dict[str, str]:
    """Return the Spark settings that the fault changes. To kill an executor, it must be a separate process."""
    if injected and injected.fault is Fault.EXECUTOR_KILLED:
        return {"spark.master": "local-cluster[1,2,1024]", "spark.executor.memory": "1g"}
    return {}


class FaultInjector:
    """Injects the cluster's fault into one running step, once.

    Args:
        injected: Fault of the cluster.
        terminate: Function that ends the cluster as EC2 does when it reclaims the master.
    """

    def __init__(self, injected: Injected | None, terminate: Callable[[], None]) -> None:
        self._fault = injected.fault if injected else None
        self._terminate = terminate

    def inject_if_due(self, process: StepProcess) -> None:
        """Inject the fault if its time has come."""
        if self._fault is Fault.DRIVER_KILLED and process.running_s > KILL_AFTER_S:
            for member in process.family():
                _kill(member)
        elif self._fault is Fault.NODE_TERMINATED and process.running_s > TERMINATED_AFTER_S:
            self._terminate()
        elif self._fault is not Fault.EXECUTOR_KILLED or not _kill_working_executor(process):
            return
        process.note(f"INFO injected the fault {self._fault}")
        self._fault = None


def _kill_working_executor(process: StepProcess) -> bool:
    """Kill the first executor that has a Python worker, and return whether there was one."""
    for member in process.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            if EXECUTOR_CLASS in member.cmdline() and member.children():
                return _kill(member)
    return False


def _kill(process: psutil.Process) -> bool:
    """Kill a process without waiting for its end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
    return True
