"""Task `featurize_on_worker`: run the application on this worker when little is new, without a cluster."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from fruits_airflow import run_context
from fruits_airflow.hooks.processes import Child, Limits, environment, free_memory_mb
from fruits_airflow.links import ReportLink, RunFolderLink
from fruits_airflow.task_ids import FEATURIZE_ON_WORKER, PLAN_CLUSTER
from fruits_features.contract.errors import TooManyNewImagesError
from fruits_features.contract.families import MODEL_FAMILY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

TIMEOUT_S: Final = 600.0
"""Longest time of the application in seconds: about what a cluster needs to start, and how long the keys of its
environment are valid at least (`hooks.processes.environment`)."""
PACKAGES: Final = ("cv2", "numpy", "obstore", "PIL", "py4j", "pyarrow", "pyspark")
"""Modules of other packages that the application imports. It starts neither Spark nor Java here."""
MODEL_PACKAGES: Final = ("onnx", "onnxruntime")
LIMITS: Final = "FRUITS_NO_CLUSTER_MEMORY_MB limits its memory. FRUITS_NO_CLUSTER_BELOW=0 always creates a cluster."
"""Settings to change if the worker is too small."""


class FeaturizeOnWorkerOperator(BaseOperator):
    """Run the application in a child process of this worker, if the plan says so.

    The task returns the reason for doing without a cluster. It is skipped, and a cluster is created, in these cases:

    - The plan has a cluster.
    - This worker lacks a package or memory.
    - The application was ended at its limit of memory or time.
    - More images are new than were counted.
    """

    operator_extra_links = (RunFolderLink(), ReportLink())

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._child: Child | None = None
        self._interrupted = False

    def execute(self, context: Context) -> str:
        """Run the application and return the plan's reason.

        Raises:
            AirflowSkipException: A cluster is needed.
            AirflowFailException: The application failed. A cluster would process the same images.
            InterruptedError: Airflow has ended the task, for example with its worker. A retry runs it again.
        """
        from include.settings import settings

        plan = run_context.result_of(context, PLAN_CLUSTER)
        reason: str | None = plan.get("without_cluster")  # an earlier version did not store it
        if not reason:
            raise AirflowSkipException("The plan has a cluster.")
        deployment = settings()
        if lacking := _lacking(context["params"]["features"], deployment.no_cluster_memory_mb):
            _use_cluster(context, plan, lacking)
        from fruits_features.job.worker_environment import WORKER_ENVIRONMENT

        run = run_context.run_of(context)
        s3 = run_context.s3_of(run)
        RunFolderLink.to(run["uri"], context, s3)
        options = (f"--new-below={deployment.no_cluster_below}", "--", *run_context.arguments_of(context).to_argv())
        command = [sys.executable, "-m", "fruits_features.without_spark", *options]
        self._child = Child(command, environment(s3) | WORKER_ENVIRONMENT)
        output = _Output(self.log.info)
        code = self._child.follow(output, Limits(deployment.no_cluster_memory_mb, TIMEOUT_S))
        if self._interrupted:
            raise InterruptedError("The task was interrupted, and ended the application.")
        if why := _why_cluster(code, self._child.stopped):
            _use_cluster(context, plan, why)
        if code:
            raise AirflowFailException(f"The application failed with exit code {code}: {output.last}")
        return reason

    def on_kill(self) -> None:
        """End the application."""
        self._interrupted = True
        if self._child:
            self._child.end()


class _Output:
    """Logs lines and keeps the last one."""

    def __init__(self, log: Any) -> None:
        self._log, self.last = log, "it has no output"

    def __call__(self, line: str) -> None:
        """Log a line."""
        self._log("%s", line)
        self.last = line or self.last


def _lacking(features: Sequence[str], memory_mb: int) -> str | None:
    """Return what this worker lacks to run the application, or `None`."""
    if missing := missing_packages(features):
        return f"this worker lacks {', '.join(missing)}."
    if (free_mb := free_memory_mb()) < memory_mb:
        return f"this worker has {free_mb:,.0f} MB of free memory, and the run may take {memory_mb:,} MB. {LIMITS}"
    return None


def _why_cluster(code: int, stopped: str | None) -> str | None:
    """Return why a cluster has to run the application, which has ended on this worker; `None` if none has to.

    Args:
        code: Exit code of the application.
        stopped: Limit at which it was ended.
    """
    if stopped:
        return f"the application was ended, because {stopped}. {LIMITS}"
    if code < 0:
        return f"signal {-code} ended the application, as when a machine's memory runs out. {LIMITS}"
    if code == TooManyNewImagesError.exit_code:
        return "more images are new than were counted. It has the planned nodes. Clear `find_changes` to plan it again."
    return None


def missing_packages(features: Sequence[str]) -> list[str]:
    """Return the names of modules that the application needs and this worker lacks."""
    needed = (*PACKAGES, *(MODEL_PACKAGES if MODEL_FAMILY in features else ()))
    return [name for name in needed if find_spec(name) is None]


def skip_without_need(context: Context) -> None:
    """Skip `create_cluster` if the application has run on a worker.

    Raises:
        AirflowSkipException: It has.
    """
    reason = context["ti"].xcom_pull(task_ids=FEATURIZE_ON_WORKER)
    if reason:
        raise AirflowSkipException(reason)


def _use_cluster(context: Context, plan: dict[str, Any], why: str) -> NoReturn:
    """Skip this task, so that a cluster is created, if `max_cost` allows it.

    Args:
        context: Airflow's context.
        plan: Plan of the run.
        why: Sentences that follow "because".
    """
    from include.emr import costs

    estimate = {name: value for name, value in plan["estimate"].items() if name != "prices"}
    try:
        costs.check(costs.Estimate(**estimate), context["params"]["max_cost"])
    except costs.TooExpensiveError as error:
        raise AirflowFailException(f"A cluster is needed, because {why} {error}") from error
    raise AirflowSkipException(f"A cluster is created, because {why}")
