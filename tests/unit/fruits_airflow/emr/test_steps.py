"""A step is added once, awaited in spite of errors, and cancelled when its task is cleared or marked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from botocore.exceptions import ReadTimeoutError, WaiterError
from structlog.testing import capture_logs

from fruits_airflow.emr import operators
from fruits_airflow.emr.operators import FeaturizeOperator, RunStepOperator
from fruits_airflow.emr.triggers import StepProgressTrigger
from fruits_airflow.hooks.aws import RETRY_CONFIG
from fruits_features.job.outcome import Outcome, Seconds
from include.dev.local_aws.emr.faults import FAULT_TAG
from include.settings import settings
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")
CONTEXT: Any = {"ti": Mock(), "task": Mock()}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set short timeouts."""
    monkeypatch.setenv("FRUITS_LOG_WAIT_S", "1")
    monkeypatch.setenv("FRUITS_STEP_TIMEOUT_S", "60")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def cluster(local_aws: LocalAws, request: pytest.FixtureRequest) -> Iterator[str]:
    """A cluster, with the fault that the test names as the parameter."""
    emr = local_aws.emr()
    tags = [{"Key": FAULT_TAG, "Value": request.param}] if hasattr(request, "param") else []
    cluster = emr.run_job_flow(Name="steps", Instances={"KeepJobFlowAliveWhenNoSteps": True}, Tags=tags)["JobFlowId"]
    yield cluster
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


def _operator(cluster: str, *command: str) -> RunStepOperator:
    step = {"Name": "step", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar"}}
    step["HadoopJarStep"]["Args"] = list(command)  # type: ignore[index]
    progress = "s3://fruits/run/progress.json"
    return RunStepOperator(task_id="featurize", job_flow_id=cluster, steps=[step], progress=progress, aws_conn_id=None)


def _deferred(operator: RunStepOperator, event: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the trigger's arguments after the task has started or received an event."""
    trigger = _deferral(operator, event).trigger
    assert isinstance(trigger, StepProgressTrigger)
    return trigger.serialize()[1]


def _deferral(
    operator: RunStepOperator, event: dict[str, Any] | None = None, kwargs: dict[str, Any] | None = None
) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute_complete(CONTEXT, event, **(kwargs or {})) if event else operator.execute(CONTEXT)
    return deferred.value


def _interrupted(step: str, message: str) -> dict[str, Any]:
    """Return the trigger's event of an interrupted wait."""
    return {"status": "error", "value": [step], "message": message}


def _states(aws: LocalAws, cluster: str) -> list[str]:
    return [step["Status"]["State"] for step in aws.emr().list_steps(ClusterId=cluster)["Steps"]][::-1]


def _cancel(aws: LocalAws, cluster: str, step: str) -> None:
    aws.emr().cancel_steps(ClusterId=cluster, StepIds=[step])
    with suppress(WaiterError):
        aws.emr().get_waiter("step_complete").wait(ClusterId=cluster, StepId=step, WaiterConfig={"Delay": 1})


def test_retry_adopts_the_running_step(local_aws: LocalAws, cluster: str) -> None:
    first = _deferred(_operator(cluster, "sleep", "600"))
    second = _deferred(_operator(cluster, "sleep", "600"))

    assert first["step_ids"] == second["step_ids"]
    assert len(_states(local_aws, cluster)) == 1


@pytest.mark.parametrize("cluster", ["answer-late:2"], indirect=True)
def test_step_with_a_lost_response_is_not_repeated_but_adopted_by_the_next_try(
    local_aws: LocalAws, cluster: str
) -> None:
    impatient = _operator(cluster, "sleep", "600")
    impatient.botocore_config = RETRY_CONFIG | {"read_timeout": 1}

    with pytest.raises(ReadTimeoutError):
        impatient.execute(CONTEXT)

    (adopted,) = _deferred(_operator(cluster, "sleep", "600"))["step_ids"]
    assert [step["Id"] for step in local_aws.emr().list_steps(ClusterId=cluster)["Steps"]] == [adopted]


def test_completed_step_is_not_added_again(local_aws: LocalAws, cluster: str) -> None:
    (step,) = _deferred(_operator(cluster, "true"))["step_ids"]
    local_aws.emr().get_waiter("step_complete").wait(ClusterId=cluster, StepId=step, WaiterConfig={"Delay": 1})

    assert _deferred(_operator(cluster, "true"))["step_ids"] == [step]
    assert _states(local_aws, cluster) == ["COMPLETED"]


def test_log_of_a_completed_step_ends_with_its_summary_and_warns_of_what_was_not_followed(
    local_aws: LocalAws, cluster: str
) -> None:
    outcome = Outcome(
        inventoried=1000,
        quarantined=4,
        reused=200,
        k=16,
        explained_variance=0.95,
        projection="ba8fb5272968",
        kept_from="s3://fruits/p.npz",
        why="--refit is never.",
        seconds=Seconds(start=1.0, describe=4.0, reduce=2.0),
        recogniser=None,
        why_no_recogniser="It needs two categories.",
        reasons={"empty": 3, "unreadable": 1},
        not_followed="The explained variance of 0.8 was not followed.",
    )
    operator = _operator(cluster, "true")
    (step,) = _deferred(operator)["step_ids"]
    event = {"status": "success", "value": [step]}
    s3 = local_aws.s3()
    s3.put_object(Bucket="fruits", Key="run/outcome.json", Body=outcome.to_bytes())
    try:
        with capture_logs() as logged:
            operator.execute_complete(CONTEXT, event)
    finally:
        s3.delete_object(Bucket="fruits", Key="run/outcome.json")

    summary = "1000 images in 7.0 s: 800 extracted at 200 images/s, 200 from the cache, 4 quarantined (empty: 3, unrea"
    warning, last = logged[-2:]
    assert warning == {"log_level": "warning", "event": "The explained variance of 0.8 was not followed."}
    assert (last["log_level"], last["event"][: len(summary)]) == ("info", summary)


def test_step_with_another_command_is_added_and_the_old_one_cancelled(local_aws: LocalAws, cluster: str) -> None:
    _deferred(_operator(cluster, "sleep", "600"))
    second = _deferred(_operator(cluster, "true"))

    local_aws.emr().get_waiter("step_complete").wait(
        ClusterId=cluster, StepId=second["step_ids"][0], WaiterConfig={"Delay": 1}
    )
    assert _states(local_aws, cluster) == ["CANCELLED", "COMPLETED"]


def test_step_timeout_comes_from_the_deployment(cluster: str) -> None:
    assert _deferred(_operator(cluster, "sleep", "600"))["waiter_max_attempts"] == 61


def test_interrupted_wait_continues_while_the_step_runs(cluster: str) -> None:
    operator = _operator(cluster, "sleep", "600")
    steps = _deferred(operator)["step_ids"]

    again = _deferred(operator, _interrupted(*steps, "ExpiredTokenException"))

    assert again["step_ids"] == steps


@pytest.mark.parametrize("message", ["ExpiredTokenException", "Waiter error: max attempts reached"])
def test_step_that_completes_after_an_interrupted_wait_succeeds(
    local_aws: LocalAws, cluster: str, message: str
) -> None:
    operator = _operator(cluster, "true")
    steps = _deferred(operator)["step_ids"]
    local_aws.emr().get_waiter("step_complete").wait(ClusterId=cluster, StepId=steps[0], WaiterConfig={"Delay": 1})

    assert operator.execute_complete(CONTEXT, _interrupted(*steps, message)) == steps


def test_adopted_step_that_is_cancelled_is_added_again(local_aws: LocalAws, cluster: str) -> None:
    (first,) = _deferred(_operator(cluster, "sleep", "600"))["step_ids"]
    operator = _operator(cluster, "sleep", "600")
    kwargs = _deferral(operator).kwargs
    _cancel(local_aws, cluster, first)

    kwargs = _deferral(operator, _interrupted(first, "step CANCELLED"), kwargs).kwargs

    assert sorted(_states(local_aws, cluster)) in (["CANCELLED", "PENDING"], ["CANCELLED", "RUNNING"])
    assert not (kwargs or {}).get("adopted_at"), "a cancellation of this try's own step is final"


def test_adopted_step_is_added_again_when_the_wait_is_interrupted_during_its_cancellation(
    local_aws: LocalAws, cluster: str, tmp_path: Path
) -> None:
    started, seen = tmp_path / "started", tmp_path / "seen"
    command = ("bash", "-c", f"trap '' TERM; touch '{started}'; until [ -e '{seen}' ]; do sleep 0.1; done")
    (step,) = _deferred(_operator(cluster, *command))["step_ids"]
    operator = _operator(cluster, *command)
    kwargs = _deferral(operator).kwargs
    wait_for(lambda: _states(local_aws, cluster) == ["RUNNING"])
    wait_for(started.exists)  # then the shell ignores the signal
    local_aws.emr().cancel_steps(ClusterId=cluster, StepIds=[step])
    assert _states(local_aws, cluster) == ["CANCEL_PENDING"]

    kwargs = _deferral(operator, _interrupted(step, "ExpiredTokenException"), kwargs).kwargs
    seen.touch()
    _cancel(local_aws, cluster, step)
    _deferral(operator, _interrupted(step, "step CANCELLED"), kwargs)

    assert len(_states(local_aws, cluster)) == 2


def test_adopted_step_that_is_cancelled_later_fails(
    local_aws: LocalAws, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = _deferred(_operator(cluster, "sleep", "600"))["step_ids"]
    operator = _operator(cluster, "sleep", "600")
    kwargs = _deferral(operator).kwargs
    monkeypatch.setattr(operators, "LATE_CANCELLATION_S", 0.0)
    _cancel(local_aws, cluster, step)

    with pytest.raises(AirflowFailException, match=f"Step {step} of cluster {cluster} is CANCELLED"):
        operator.execute_complete(CONTEXT, _interrupted(step, "step CANCELLED"), **(kwargs or {}))


def test_cancelled_step_fails(local_aws: LocalAws, cluster: str) -> None:
    operator = _operator(cluster, "sleep", "600")
    (step,) = _deferred(operator)["step_ids"]
    _cancel(local_aws, cluster, step)

    with pytest.raises(AirflowFailException, match=f"Step {step} of cluster {cluster} is CANCELLED"):
        operator.execute_complete(CONTEXT, _interrupted(step, "step CANCELLED"))


def test_adopted_step_that_ends_with_its_cluster_fails(local_aws: LocalAws, cluster: str) -> None:
    (step,) = _deferred(_operator(cluster, "sleep", "600"))["step_ids"]
    operator = _operator(cluster, "sleep", "600")
    kwargs = _deferral(operator).kwargs
    local_aws.emr().terminate_job_flows(JobFlowIds=[cluster])
    local_aws.emr().get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})

    with pytest.raises(AirflowFailException, match=r"is CANCELLED .*; the cluster is TERMINATED"):
        operator.execute_complete(CONTEXT, _interrupted(step, "step CANCELLED"), **(kwargs or {}))


def test_step_on_a_cluster_that_ended_before_fails_with_emrs_reason_and_the_way_out(
    local_aws: LocalAws, cluster: str
) -> None:
    """As when the DAG is paused before the step until EMR's idle timeout ends the cluster."""
    local_aws.emr().terminate_job_flows(JobFlowIds=[cluster])
    local_aws.emr().get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})

    with pytest.raises(
        AirflowFailException,
        match=rf"^The cluster ended before the step was added\. Cluster {cluster} is TERMINATED .* Clear this task",
    ):
        _operator(cluster, "true").execute(CONTEXT)


def test_step_that_exceeds_the_timeout_is_cancelled_and_fails(local_aws: LocalAws, cluster: str) -> None:
    operator = _operator(cluster, "sleep", "600")
    steps = _deferred(operator)["step_ids"]
    event = _interrupted(*steps, "Waiter error: max attempts reached")

    with pytest.raises(AirflowFailException, match=r"did not end within 0:01:00 \(FRUITS_STEP_TIMEOUT_S\)\. Step"):
        operator.execute_complete(CONTEXT, event)

    assert _states(local_aws, cluster)[0] in {"CANCEL_PENDING", "CANCELLED"}


def test_killed_trigger_cancels_its_step(local_aws: LocalAws, cluster: str) -> None:
    arguments = _deferred(_operator(cluster, "sleep", "600"))

    asyncio.run(StepProgressTrigger(**arguments).on_kill())

    assert _states(local_aws, cluster)[0] in {"CANCEL_PENDING", "CANCELLED"}


@pytest.mark.parametrize(
    ("limit", "images", "reason"),
    [
        ("2000", 2000, "2,000 images are at most 2,000 (FRUITS_VALIDATE_ON_CLUSTER_ABOVE)"),
        ("0", 10**9, "0 turns it off (FRUITS_VALIDATE_ON_CLUSTER_ABOVE)"),
        ("2000", 2001, None),
        ("1", 2, None),
    ],
)
def test_second_step_of_a_small_run_is_skipped_without_starting(
    limit: str, images: int, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_VALIDATE_ON_CLUSTER_ABOVE", limit)
    settings.cache_clear()
    monkeypatch.setattr(RunStepOperator, "execute_complete", lambda *_args, **_kwargs: ["s-1"])
    operator = FeaturizeOperator(task_id="featurize", job_flow_id="j-1", steps=[])
    context: Any = {"ti": Mock(xcom_pull=Mock(return_value={"images": images}))}

    with capture_logs() as logs:
        assert operator.execute_complete(context, {}) == ["s-1"]

    pushed = [call.kwargs for call in context["ti"].xcom_push.call_args_list]
    assert pushed == ([{"key": "skipmixin_key", "value": {"skipped": ["validate_on_cluster"]}}] if reason else [])
    assert (reason is not None) == any(reason in entry["event"] for entry in logs if reason)
