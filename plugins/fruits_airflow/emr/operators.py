"""Operators: the Amazon provider's, where they leave a cluster running or a failure unexplained.

Each class mends one thing and says which; the requests themselves are built in `include.emr.requests`.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.triggers.emr import EmrAddStepsTrigger
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

from fruits_airflow import run_context
from fruits_airflow.emr.cost import COST_XCOM, cluster_cost
from fruits_airflow.emr.diagnosis import diagnose, of_refusal
from fruits_airflow.emr.owned_clusters import ACTIVE_STATES, owned
from fruits_airflow.emr.triggers import StepProgressTrigger
from fruits_airflow.hooks.aws import EXPIRED, CreateHook, patience, s3, was_throttled
from fruits_airflow.links import ClusterLink, LogsLink, ReportLink, RunFolderLink, StepLogsLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.literals import StepStateType
    from mypy_boto3_emr.type_defs import StepStatusTypeDef

LONGEST_END_S = 20 * 60
UNFINISHED: tuple[StepStateType, ...] = ("PENDING", "RUNNING")
COMPLETED: StepStateType = "COMPLETED"
CANCELLED: StepStateType = "CANCELLED"
CANCEL_PENDING: StepStateType = "CANCEL_PENDING"
"""Asked to end, and ending."""
LATE_CANCELLATION_S = 120.0
"""For so long after a try has adopted a step, its cancellation may be meant for the try before: Airflow gives its
triggerer 30 s for that (`on_kill_timeout`), and a step takes some seconds to end."""
MAX_ATTEMPTS = "max attempts reached"
"""How the provider's triggers say that they have waited long enough."""


class CreateClusterOperator(EmrCreateJobFlowOperator):
    """Finds the run's cluster or creates one, returns its id at once, and leaves none behind when it fails.

    The provider's operator cleans up only after a failed wait. Here any failure after EMR accepted the cluster ends
    it, and a retry adopts the cluster of an earlier try whose answer was lost on its way to Airflow's database. The
    cluster is known by its tags. A cleared run adopts a cluster that is still up too, and gets a new one otherwise.
    """

    aws_hook_class = CreateHook
    operator_extra_links = (ClusterLink(), LogsLink())  # type: ignore[assignment]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(emr_conn_id=None, wait_for_completion=False, **kwargs)
        self._job_flow_id: str | None = None

    def execute(self, context: Context) -> str | None:
        """Find or create the cluster."""
        adopted = self._find()
        if adopted:
            self._link(adopted, context)
            return adopted
        try:
            created: str | None = super().execute(context)
            self._link(str(created), context)
        except ClientError as error:
            self._leave_none()
            if _is_final(error):
                raise AirflowFailException(of_refusal(error)) from error
            raise
        except BaseException:
            self._leave_none()
            raise
        return created

    def _link(self, cluster_id: str, context: Context) -> None:
        ClusterLink.to(cluster_id, context, self.hook)
        LogsLink.of(cast("dict[str, Any]", self.job_flow_overrides).get("LogUri"), cluster_id, context, self.hook)

    def _leave_none(self) -> None:
        """End the cluster that this try made."""
        if self._job_flow_id:
            self.log.warning("Ending cluster %s: its creation failed half-way.", self._job_flow_id)
            self._end(self._job_flow_id)

    def _find(self) -> str | None:
        """The active cluster of this run, the oldest if there should be several; the others are ended."""
        from include.emr.tags import ClusterOwner

        request = cast("dict[str, Any]", self.job_flow_overrides)
        origin = ClusterOwner.of(request.get("Tags", ()))
        if origin is None:
            raise AirflowFailException(f"The cluster {request['Name']!r} has no origin's tags: no retry would find it.")
        found = [one for one in owned(_emr(self), origin.deployment) if one.origin == origin]
        for surplus in found[1:]:
            self.log.warning("Ending cluster %s: run %s has %s already.", surplus.id, origin.run_id, found[0].id)
            self._end(surplus.id)
        if not found:
            return None
        self.log.info("Adopting cluster %s, which an earlier try created for run %s.", found[0].id, origin.run_id)
        return found[0].id

    def _end(self, cluster_id: str) -> None:
        _emr(self).terminate_job_flows(JobFlowIds=[cluster_id])


class RunStepOperator(EmrAddStepsOperator):
    """Runs one step, deferred, shows how far it is, and why it failed.

    The provider reports a failed step by its id alone. Here the log holds EMR's reason and the end of the step's
    output, fetched from the cluster's `LogUri`. A try after one that was lost with its worker, or cleared, takes up the
    step of that one, under way or completed, if it would add the same again, and adds it again when it is cancelled
    right after: the triggerer cancels a cleared try's step while the next try begins already. A wait that breaks off,
    for one because the triggerer's credentials expired, goes on.

    Args:
        progress: URI of the `progress.json` that the step keeps up to date (templated); the run's by default.
        kwargs: as for `EmrAddStepsOperator`.
    """

    template_fields: Sequence[str] = (*EmrAddStepsOperator.template_fields, "progress")
    operator_extra_links = (ClusterLink(), StepLogsLink(), RunFolderLink(), ReportLink())  # type: ignore[assignment]

    def __init__(self, *, progress: Any = run_context.progress, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.progress = progress

    def execute(self, context: Context) -> list[str]:
        """Add the step, and wait in the triggerer."""
        logs = _emr(self).describe_cluster(ClusterId=str(self.job_flow_id))["Cluster"].get("LogUri")
        ClusterLink.to(str(self.job_flow_id), context, self.hook)
        StepLogsLink.of(logs, f"{self.job_flow_id}/steps", context, self.hook)
        RunFolderLink.to(self.progress.rpartition("/")[0], context, self.hook)
        if adopted := self._find():
            self.log.info("Waiting for step %s, which an earlier try added.", adopted)
            self._wait_again(adopted, adopted_at=time.time())
        added: list[str] = super().execute(context)
        return added

    def _find(self) -> str | None:
        """The step of an earlier try that does or did the same; one under way that does another thing is cancelled."""
        command = cast("list[dict[str, Any]]", self.steps)[0]["HadoopJarStep"]["Args"]
        states = [*UNFINISHED, COMPLETED]
        listed = _emr(self).list_steps(ClusterId=str(self.job_flow_id), StepStates=states)["Steps"]
        same = [step["Id"] for step in listed if step["Config"]["Args"] == command]
        unfinished = [step["Id"] for step in listed if step["Status"]["State"] != COMPLETED]
        if others := [step for step in unfinished if step not in same[:1]]:
            self.log.warning("Cancelling steps %s, which earlier tries left.", others)
            self._cancel(others)
        return same[0] if same else None

    def defer(self, *, trigger: BaseTrigger, **kwargs: Any) -> NoReturn:
        """Wait by the trigger that tells the progress, as long as the deployment's settings say."""
        _, arguments = trigger.serialize()
        arguments |= patience(_longest_s())
        super().defer(trigger=StepProgressTrigger(progress=self.progress, **arguments), **kwargs)

    def execute_complete(  # type: ignore[override] # the provider says `str`, and returns the steps' ids
        self, context: Context, event: dict[str, Any] | None = None, *, adopted_at: float | None = None
    ) -> list[str]:
        """Continue when the step is over.

        Args:
            context: of the task.
            event: of the trigger.
            adopted_at: when this try took up the step of an earlier one; seconds since 1970.

        Raises:
            AirflowFailException: it failed; a second try would meet the same images, so there is none.
        """
        step_id = (event or {}).get("value", [None])[0]
        if event is None or step_id is None:
            raise AirflowFailException(f"The wait for cluster {self.job_flow_id} ended without a step: {event}")
        message = event.get("message", "")
        status: StepStatusTypeDef = {"State": COMPLETED} if event["status"] == "success" else self._status(step_id)
        state = status["State"]
        if state == COMPLETED:
            self.log.info("Step %s is completed%s.", step_id, message and f"; the wait for it broke off: {message}")
            return [step_id]
        if state in {*UNFINISHED, CANCEL_PENDING} and MAX_ATTEMPTS not in message:
            self.log.warning("The wait for step %s broke off, and goes on: %s", step_id, message)
            self._wait_again(step_id, adopted_at=adopted_at)
        if state == CANCELLED and _is_soon(status, adopted_at) and self._takes_steps():
            self.log.warning("Step %s was cancelled right after it was adopted, so it is added again.", step_id)
            return self.execute(context)
        raise AirflowFailException(self._failure(step_id, message))

    def _status(self, step_id: str) -> StepStatusTypeDef:
        return _emr(self).describe_step(ClusterId=str(self.job_flow_id), StepId=step_id)["Step"]["Status"]

    def _takes_steps(self) -> bool:
        cluster = _emr(self).describe_cluster(ClusterId=str(self.job_flow_id))["Cluster"]
        return cluster["Status"]["State"] in ACTIVE_STATES

    def _wait_again(self, step_id: str, *, adopted_at: float | None) -> NoReturn:
        self.defer(
            trigger=EmrAddStepsTrigger(
                job_flow_id=str(self.job_flow_id),
                step_ids=[step_id],
                waiter_delay=self.waiter_delay,
                waiter_max_attempts=self.waiter_max_attempts,
                aws_conn_id=self.aws_conn_id,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
            kwargs={"adopted_at": adopted_at},
        )

    def _failure(self, step_id: str, message: str) -> str:
        if MAX_ATTEMPTS in message:
            self._cancel([step_id])
            return (
                f"The step was cancelled because it did not end within {timedelta(seconds=_longest_s())}, which is "
                f"FRUITS_STEP_TIMEOUT_S. {self._diagnosis(step_id)}"
            )
        return self._diagnosis(step_id)

    def _diagnosis(self, step_id: str) -> str:
        return diagnose(_emr(self), s3(aws_conn_id=self.aws_conn_id), str(self.job_flow_id)).of_step(step_id)

    def _cancel(self, step_ids: list[str]) -> None:
        _emr(self).cancel_steps(ClusterId=str(self.job_flow_id), StepIds=step_ids)


def _is_soon(status: StepStatusTypeDef, adopted_at: float | None) -> bool:
    """Tell whether a step ended so soon after its adoption that this was meant for the try before."""
    if adopted_at is None:
        return False
    ended = status.get("Timeline", {}).get("EndDateTime")
    return (ended.timestamp() if ended else time.time()) - adopted_at < LATE_CANCELLATION_S


class TerminateClusterOperator(EmrTerminateJobFlowOperator):
    """Ends a cluster, waits until it is gone, however it went, and says what it has cost.

    The provider's operator fails when the cluster ended with errors. For a teardown that cluster is down as it
    should be: what went wrong is told by the task that met it.
    """

    operator_extra_links = (ClusterLink(), LogsLink())  # type: ignore[assignment]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)

    def execute(self, context: Context) -> None:
        """Ask for the end, and wait for it in the triggerer."""
        waiting = patience(LONGEST_END_S)
        self.waiter_delay, self.waiter_max_attempts = waiting["waiter_delay"], waiting["waiter_max_attempts"]
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Continue when the wait is over.

        Raises:
            AirflowException: the cluster is still up.
        """
        cluster = _emr(self).describe_cluster(ClusterId=self.job_flow_id)["Cluster"]
        LogsLink.of(cluster.get("LogUri"), self.job_flow_id, context, self.hook)
        state = cluster["Status"]["State"]
        if state in {"TERMINATED", "TERMINATED_WITH_ERRORS"}:
            self.log.info("Cluster %s is %s.", self.job_flow_id, state)
            context["ti"].xcom_push(key=COST_XCOM, value=cluster_cost(_emr(self), str(self.job_flow_id)))
            return
        super().execute_complete(context, event)


def _longest_s() -> int:
    """How long a step may take."""
    from include.settings import settings

    return settings().step_timeout_s


def _is_final(error: ClientError) -> bool:
    """Whether AWS refused a request for what it asks, so that it would refuse it again in a minute."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return 400 <= status < 500 and not was_throttled(error) and error.response["Error"]["Code"] not in EXPIRED  # noqa: PLR2004


def _emr(operator: AwsBaseOperator[EmrHook]) -> EMRClient:
    """The operator's client, with the type that the provider does not tell."""
    return cast("EMRClient", operator.hook.conn)
