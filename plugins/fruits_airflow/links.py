"""Links of a task in Airflow's UI.

They lead to the cluster, the logs and the run's results in the AWS console, and to the run's report. With an emulated
AWS, which has no console, they lead to the plugin's page of the run's files. A task stores the target of a link as an
XCom as soon as it is known.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink
from airflow.providers.amazon.aws.links.emr import EmrClusterLink
from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.decorator import task_decorator_factory
from airflow.sdk.configuration import conf

from fruits_airflow.hooks.aws import is_aws
from fruits_airflow.task_ids import CLUSTER_LINK_KEY, LOGS_LINK_KEY, RUN_FOLDER_LINK_KEY, STEP_LOGS_LINK_KEY
from fruits_features.contract.layout import split

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


_IS_AWS = "is_aws"


class _ConsoleLink(BaseAwsLink):
    """Link to the AWS console, or to the page of the run's files if AWS is emulated."""

    def format_link(self, **kwargs: str) -> str:
        """Return the URL in the console, or the page's query."""
        if kwargs.pop(_IS_AWS, True):
            return super().format_link(**kwargs)
        uri = f"s3://{kwargs['bucket']}/{kwargs['prefix']}" if "bucket" in kwargs else ""
        return f"?uri={quote(uri)}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the complete URL; an empty one if there is no target yet."""
        link = str(super().get_link(operator, ti_key=ti_key) or "")
        return f"{_page('files', ti_key)}{link}" if link.startswith("?") else link


class ClusterLink(_ConsoleLink, EmrClusterLink):
    """Link to a cluster in the EMR console. The provider's operators store targets under the provider's key."""

    key = CLUSTER_LINK_KEY

    @classmethod
    def to(cls, cluster_id: str, context: Context, hook: AwsBaseHook) -> None:
        """Store the link of a task to a cluster."""
        _store(cls, context, hook, job_flow_id=cluster_id)


class _FolderLink(_ConsoleLink):
    """Link to a folder in the S3 console."""

    format_str = BASE_AWS_CONSOLE_LINK + "/s3/buckets/{bucket}?region={region_name}&prefix={prefix}"

    @classmethod
    def to(cls, uri: str, context: Context, hook: AwsBaseHook) -> None:
        """Store the link of a task to a folder."""
        bucket, prefix = split(f"{uri.rstrip('/')}/")
        _store(cls, context, hook, bucket=bucket, prefix=prefix)


class LogsLink(_FolderLink):
    """Link to the logs of a cluster. The provider's link is wrong when `LogUri` has a prefix."""

    name = "Logs"
    key = LOGS_LINK_KEY

    @classmethod
    def of(cls, log_uri: str | None, folder: str, context: Context, hook: AwsBaseHook) -> None:
        """Store the link of a task to a folder below `LogUri`, if the cluster has one."""
        if log_uri:
            cls.to(f"{log_uri.rstrip('/')}/{folder}", context, hook)


class StepLogsLink(LogsLink):
    """Link to the logs of a cluster's steps."""

    name = "Step logs"
    key = STEP_LOGS_LINK_KEY


class RunFolderLink(_FolderLink):
    """Link to the results of a run."""

    name = "Run in S3"
    key = RUN_FOLDER_LINK_KEY


class ReportLink(BaseOperatorLink):
    """Link to the report of the task's run."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the URL of the report page below Airflow's base URL."""
        return _page("report", ti_key)


class _RunTask(_PythonDecoratedOperator):
    operator_extra_links = (RunFolderLink(), ReportLink())


run_task = partial(task_decorator_factory, decorated_operator_class=_RunTask)
"""Airflow's `@task` with links to the run's folder and report."""


def _page(name: str, key: TaskInstanceKey) -> str:
    base = conf.get("api", "base_url", fallback="/").rstrip("/")
    return f"{base}/fruits/dags/{quote(key.dag_id)}/dag_runs/{quote(key.run_id)}/{name}"


def _store(link: type[BaseAwsLink], context: Context, hook: AwsBaseHook, **values: str) -> None:
    link.persist(
        context=context,
        operator=context["task"],
        region_name=hook.conn_region_name,
        aws_partition=hook.conn_partition,
        **values,
        **{_IS_AWS: is_aws(hook.conn)},
    )
