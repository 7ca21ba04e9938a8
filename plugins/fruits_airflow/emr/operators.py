"""Operators for EMR clusters and steps.

Each class extends an operator of the Amazon provider. Its docstring names the difference. The requests are built in
`include.emr.requests`.
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
from airflow.sdk.bases.skipmixin import XCOM_SKIPMIXIN_KEY, XCOM_SKIPMIXIN_SKIPPED
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

from fruits_airflow import run_context
from fruits_airflow.emr.cost import cluster_cost
from fruits_airflow.emr.diagnosis import diagnose, explain_refusal
from fruits_airflow.emr.owned_clusters import ACTIVE_STATES, owned
from fruits_airflow.emr.triggers import WAIT_TIMEOUT_MESSAGE, ClusterEndTrigger, StepProgressTrigger
from fruits_airflow.hooks.aws import EXPIRED_CODES, CreateHook, is_throttling, s3, waiter_config
from fruits_airflow.hooks.s3 import read_json
from fruits_airflow.links import ClusterLink, LogsLink, ReportLink, RunFolderLink, StepLogsLink
from fruits_airflow.task_ids import COST_KEY, VALIDATE_ON_CLUSTER, VALIDATE_PARQUET
from fruits_features.contract.layout import RunLayout
from fruits_features.contract.sealed import DamagedDocumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.literals import StepStateType
    from mypy_boto3_emr.type_defs import StepStatusTypeDef

    from fruits_airflow.emr.diagnosis import ClusterDiagnosis

MAX_TERMINATION_S = 20 * 60
"""Longest wait for a cluster to end, in seconds."""
UNFINISHED_STATES: tuple[StepStateType, ...] = ("PENDING", "RUNNING")
COMPLETED: StepStateType = "COMPLETED"
CANCELLED: StepStateType = "CANCELLED"
CANCEL_PENDING: StepStateType = "CANCEL_PENDING"
"""A cancellation was requested and the step is still ending."""
LATE_CANCELLATION_S = 120.0
"""Seconds after a step's adoption in which a cancellation may come from the earlier try. Airflow's triggerer has 30 s
to cancel a cleared try (`on_kill_timeout`), and a step takes some seconds to end."""


class CreateClusterOperator(EmrCreateJobFlowOperator):
    """Create the run's cluster, or adopt an active one, and return its id without waiting.

    The provider's operator ends the cluster only after a failed wait. This operator ends it after any failure that
    follows RunJobFlow. A retry adopts the cluster of an earlier try whose id did not reach Airflow's database. A
    cleared run also adopts a cluster that is still active. The run's cluster is identified by its tags.
    """

    aws_hook_class = CreateHook
    operator_extra_links = (ClusterLink(), LogsLink())  # type: ignore[assignment] # other links than the provider's

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(emr_conn_id=None, wait_for_completion=False, **kwargs)
        self._job_flow_id: str | None = None

    def execute(self, context: Context) -> str | None:
        """Return the id of the adopted or created cluster.

        Raises:
            AirflowFailException: EMR refused the request, and would refuse it again.
        """
        adopted = self._find_cluster()
        if adopted:
            self._link(adopted, context)
            return adopted
        try:
            created: str | None = super().execute(context)
            self._link(str(created), context)
        except ClientError as error:
            self._terminate_created()
            if _is_final(error):
                raise AirflowFailException(explain_refusal(error)) from error
            raise
        except BaseException:
            self._terminate_created()
            raise
        return created

    def _link(self, cluster_id: str, context: Context) -> None:
        ClusterLink.to(cluster_id, context, self.hook)
        LogsLink.of(cast("dict[str, Any]", self.job_flow_overrides).get("LogUri"), cluster_id, context, self.hook)

    def _terminate_created(self) -> None:
        """End the cluster that this try has created, if any."""
        if self._job_flow_id:
            self.log.warning("Ending cluster %s: the task failed after creating it.", self._job_flow_id)
            self._terminate(self._job_flow_id)

    def _find_cluster(self) -> str | None:
        """Return the oldest active cluster of this run, and end the others."""
        from include.emr.tags import ClusterOwner

        request = cast("dict[str, Any]", self.job_flow_overrides)
        owner = ClusterOwner.of(request.get("Tags", ()))
        if owner is None:
            raise AirflowFailException(
                f"Cluster request {request['Name']!r} lacks the owner's tags, so a retry could not find its cluster. "
                "Add the tags of `include.emr.tags.ClusterOwner`."
            )
        clusters = [cluster for cluster in owned(_emr(self), owner.deployment) if cluster.owner == owner]
        for surplus in clusters[1:]:
            self.log.warning(
                "Ending cluster %s: run %s already has cluster %s.", surplus.id, owner.run_id, clusters[0].id
            )
            self._terminate(surplus.id)
        if not clusters:
            return None
        self.log.info("Adopting cluster %s, which an earlier try created for run %s.", clusters[0].id, owner.run_id)
        return clusters[0].id

    def _terminate(self, cluster_id: str) -> None:
        _emr(self).terminate_job_flows(JobFlowIds=[cluster_id])


class RunStepOperator(EmrAddStepsOperator):
    """Run one step in deferrable mode, log its progress, and log the reason when it fails.

    The differences from the provider's operator are:

    - A failure shows EMR's reason and the last lines of the step's output from the cluster's `LogUri`.
    - A retry, or a cleared task, adopts the step of the earlier try if its command is the same. The step may be
      running or completed.
    - The step is added again when it is cancelled shortly after its adoption. The triggerer may cancel the step of a
      cleared try after the next try has started.
    - An interrupted wait continues, for example after the triggerer's credentials have expired.
    - A request whose response is lost is not repeated, because EMR may have added the step. A retry adopts it.

    Args:
        progress: URI of the `progress.json` that the step updates (templated). Default: the run's file.
        kwargs: Arguments of `EmrAddStepsOperator`.
    """

    aws_hook_class = CreateHook
    template_fields: Sequence[str] = (*EmrAddStepsOperator.template_fields, "progress")
    operator_extra_links = (ClusterLink(), StepLogsLink(), RunFolderLink(), ReportLink())  # type: ignore[assignment] # other links than the provider's

    def __init__(self, *, progress: Any = run_context.progress, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.progress = progress

    def execute(self, context: Context) -> list[str]:
        """Add or adopt the step, then wait in the triggerer.

        Raises:
            AirflowFailException: The cluster has ended, for example by its idle timeout while the DAG was paused.
        """
        logs = _emr(self).describe_cluster(ClusterId=str(self.job_flow_id))["Cluster"].get("LogUri")
        ClusterLink.to(str(self.job_flow_id), context, self.hook)
        StepLogsLink.of(logs, f"{self.job_flow_id}/steps", context, self.hook)
        RunFolderLink.to(self.progress.rpartition("/")[0], context, self.hook)
        if adopted := self._find_step():
            self.log.info("Waiting for step %s, which an earlier try added.", adopted)
            self._wait_again(adopted, adopted_at=time.time())
        if not self._accepts_steps():
            raise AirflowFailException(
                f"The cluster ended before the step was added. {self._diagnose().of_cluster()} Clear this task: that "
                "creates another cluster."
            )
        added: list[str] = super().execute(context)
        return added

    def _find_step(self) -> str | None:
        """Return the step of an earlier try with the same command, and cancel unfinished steps with another one."""
        command = cast("list[dict[str, Any]]", self.steps)[0]["HadoopJarStep"]["Args"]
        states = [*UNFINISHED_STATES, COMPLETED]
        listed = _emr(self).list_steps(ClusterId=str(self.job_flow_id), StepStates=states)["Steps"]
        same = [step["Id"] for step in listed if step["Config"]["Args"] == command]
        unfinished = [step["Id"] for step in listed if step["Status"]["State"] != COMPLETED]
        if others := [step for step in unfinished if step not in same[:1]]:
            self.log.warning("Cancelling steps %s, which earlier tries added.", others)
            self._cancel(others)
        return same[0] if same else None

    def defer(self, *, trigger: BaseTrigger, **kwargs: Any) -> NoReturn:
        """Wait with the trigger that logs progress, for `FRUITS_STEP_TIMEOUT_S` at most."""
        _, arguments = trigger.serialize()
        super().defer(trigger=self._progress_trigger(arguments["step_ids"]), **kwargs)

    def _progress_trigger(self, step_ids: list[str]) -> StepProgressTrigger:
        return StepProgressTrigger(
            progress=self.progress,
            job_flow_id=str(self.job_flow_id),
            step_ids=step_ids,
            aws_conn_id=self.aws_conn_id,
            **waiter_config(_step_timeout_s()),
        )

    def execute_complete(  # type: ignore[override] # annotated `str` in the provider, which returns the steps' ids
        self, context: Context, event: dict[str, Any] | None = None, *, adopted_at: float | None = None
    ) -> list[str]:
        """Return the step's id if it is completed; otherwise wait again, add it again, or fail.

        Args:
            context: Airflow's context of the task.
            event: Event of the trigger.
            adopted_at: Time at which this try adopted the step of an earlier one, in seconds since the epoch.

        Raises:
            AirflowFailException: The step failed. There is no retry, because it would process the same images.
        """
        step_id = (event or {}).get("value", [None])[0]
        if event is None or step_id is None:
            raise AirflowFailException(
                f"The trigger's event for cluster {self.job_flow_id} contains no step id: {event}. Clear this task."
            )
        message = event.get("message", "")
        status: StepStatusTypeDef = {"State": COMPLETED} if event["status"] == "success" else self._status(step_id)
        state = status["State"]
        if state == COMPLETED:
            if message:
                self.log.info("Step %s is completed. Its wait was interrupted: %s", step_id, message)
            else:
                self.log.info("Step %s is completed.", step_id)
            self._log_outcome()
            return [step_id]
        if state in {*UNFINISHED_STATES, CANCEL_PENDING} and WAIT_TIMEOUT_MESSAGE not in message:
            self.log.warning("The wait for step %s was interrupted. Waiting again: %s", step_id, message)
            self._wait_again(step_id, adopted_at=adopted_at)
        if state == CANCELLED and _ended_after_adoption(status, adopted_at) and self._accepts_steps():
            self.log.warning("Step %s was cancelled shortly after its adoption. Adding it again.", step_id)
            return self.execute(context)
        raise AirflowFailException(self._failure(step_id, message))

    def _log_outcome(self) -> None:
        """Log the application's summary, and a warning if it did not follow a request."""
        from fruits_features.job.outcome import Outcome

        layout = RunLayout(self.progress.rpartition("/")[0])
        try:
            document = read_json(s3(aws_conn_id=self.aws_conn_id), layout.outcome)
            outcome = Outcome.of(document) if document else None
        except (DamagedDocumentError, KeyError, TypeError) as error:  # of another version
            self.log.warning("The summary in %s cannot be read: %s", layout.outcome, error)
            return
        if outcome and outcome.not_followed:
            self.log.warning("%s", outcome.not_followed)
        self.log.info("%s.", outcome or f"The application has written no summary to {layout.outcome}")

    def _status(self, step_id: str) -> StepStatusTypeDef:
        return _emr(self).describe_step(ClusterId=str(self.job_flow_id), StepId=step_id)["Step"]["Status"]

    def _accepts_steps(self) -> bool:
        cluster = _emr(self).describe_cluster(ClusterId=str(self.job_flow_id))["Cluster"]
        return cluster["Status"]["State"] in ACTIVE_STATES

    def _wait_again(self, step_id: str, *, adopted_at: float | None) -> NoReturn:
        super().defer(
            trigger=self._progress_trigger([step_id]),
            method_name="execute_complete",
            kwargs={"adopted_at": adopted_at},
        )

    def _failure(self, step_id: str, message: str) -> str:
        if WAIT_TIMEOUT_MESSAGE in message:
            self._cancel([step_id])
            return (
                f"The step was cancelled because it did not end within {timedelta(seconds=_step_timeout_s())} "
                f"(FRUITS_STEP_TIMEOUT_S). {self._diagnosis(step_id)}"
            )
        return self._diagnosis(step_id)

    def _diagnosis(self, step_id: str) -> str:
        return self._diagnose().of_step(step_id)

    def _diagnose(self) -> ClusterDiagnosis:
        return diagnose(_emr(self), s3(aws_conn_id=self.aws_conn_id), str(self.job_flow_id))

    def _cancel(self, step_ids: list[str]) -> None:
        _emr(self).cancel_steps(ClusterId=str(self.job_flow_id), StepIds=step_ids)


def _ended_after_adoption(status: StepStatusTypeDef, adopted_at: float | None) -> bool:
    """Return whether a step ended within `LATE_CANCELLATION_S` of its adoption."""
    if adopted_at is None:
        return False
    end = status.get("Timeline", {}).get("EndDateTime")
    return (end.timestamp() if end else time.time()) - adopted_at < LATE_CANCELLATION_S


class FeaturizeOperator(RunStepOperator):
    """Run the application, and skip the second step if the run is too small for it.

    The step is skipped by the XCom of Airflow's `SkipMixin`. Its task does not start, which would take a second.
    `SkipMixin.skip` itself raises `DownstreamTasksSkipped`, and this task would have no result.
    """

    inherits_from_skipmixin = True
    """Makes the scheduler read the XCom (`airflow.ti_deps.deps.not_previously_skipped_dep`)."""

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:  # type: ignore[override] # as in `RunStepOperator`
        """Return the step's id, as `RunStepOperator` does."""
        step_ids = super().execute_complete(context, event, **kwargs)
        if reason := _without_second_step(context):
            self.log.info("%s", reason)
            context["ti"].xcom_push(key=XCOM_SKIPMIXIN_KEY, value={XCOM_SKIPMIXIN_SKIPPED: [VALIDATE_ON_CLUSTER]})
        return step_ids


class ValidateOnClusterOperator(RunStepOperator):
    """Let the cluster read all rows for the validation and the report."""

    def _log_outcome(self) -> None:
        layout = RunLayout(self.progress.rpartition("/")[0])
        self.log.info("The figures are in %s. `%s` judges them.", layout.validation, VALIDATE_PARQUET)


def _without_second_step(context: Context) -> str | None:
    """Return why the Airflow worker reads the rows itself; `None` if the cluster does."""
    from include.settings import settings

    images, limit = run_context.run_of(context)["images"], settings().validate_on_cluster_above
    if limit and images > limit:
        return None
    rule = f"{images:,} images are at most {limit:,}" if limit else "0 turns it off"
    return f"`{VALIDATE_ON_CLUSTER}` is skipped: {rule} (FRUITS_VALIDATE_ON_CLUSTER_ABOVE). The worker reads the rows."


class TerminateClusterOperator(EmrTerminateJobFlowOperator):
    """End a cluster, wait until it is terminated, and log its cost.

    The provider's operator fails when the cluster terminated with errors. This operator succeeds, because a teardown
    only has to end the cluster. The task that used the cluster reports the errors.
    """

    operator_extra_links = (ClusterLink(), LogsLink())  # type: ignore[assignment] # other links than the provider's

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)

    def execute(self, context: Context) -> None:
        """Request the termination, then wait in the triggerer."""
        waiter = waiter_config(MAX_TERMINATION_S)
        self.waiter_delay, self.waiter_max_attempts = waiter["waiter_delay"], waiter["waiter_max_attempts"]
        ClusterLink.to(str(self.job_flow_id), context, self.hook)
        super().execute(context)

    def defer(self, *, trigger: BaseTrigger, **kwargs: Any) -> NoReturn:
        """Wait with the trigger that repeats failed requests."""
        _, arguments = trigger.serialize()
        super().defer(trigger=ClusterEndTrigger(**arguments), **kwargs)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Check the cluster's state after the wait, and store its cost.

        Raises:
            AirflowException: The cluster is not terminated.
        """
        cluster = _emr(self).describe_cluster(ClusterId=self.job_flow_id)["Cluster"]
        LogsLink.of(cluster.get("LogUri"), self.job_flow_id, context, self.hook)
        state = cluster["Status"]["State"]
        if state in {"TERMINATED", "TERMINATED_WITH_ERRORS"}:
            self.log.info("Cluster %s is %s.", self.job_flow_id, state)
            context["ti"].xcom_push(key=COST_KEY, value=cluster_cost(_emr(self), str(self.job_flow_id)))
            return
        super().execute_complete(context, event)


def _step_timeout_s() -> int:
    """Return the longest duration of a step in seconds."""
    from include.settings import settings

    return settings().step_timeout_s


def _is_final(error: ClientError) -> bool:
    """Return whether AWS refused the content of a request, so that a retry would be refused too."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return 400 <= status < 500 and not is_throttling(error) and error.response["Error"]["Code"] not in EXPIRED_CODES  # noqa: PLR2004 - client errors of HTTP


def _emr(operator: AwsBaseOperator[EmrHook]) -> EMRClient:
    """Return the operator's EMR client with its type, which the provider does not annotate."""
    return cast("EMRClient", operator.hook.conn)
