"""Links of a task in Airflow's UI: to its step's logs and run's results in the AWS console, and to its run's report."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink
from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


class _FolderLink(BaseAwsLink):
    """Leads to a folder in S3."""

    format_str = BASE_AWS_CONSOLE_LINK + "/s3/buckets/{bucket}?region={region_name}&prefix={prefix}"

    @classmethod
    def to(cls, uri: str, context: Context, operator: AwsBaseOperator) -> None:  # type: ignore[type-arg]
        """Let a task link to a folder."""
        bucket, prefix = S3Hook.parse_s3_url(f"{uri.rstrip('/')}/")
        cls.persist(
            context=context,
            operator=operator,
            region_name=operator.hook.conn_region_name,
            aws_partition=operator.hook.conn_partition,
            bucket=bucket,
            prefix=prefix,
        )


class StepLogsLink(_FolderLink):
    """Leads to the logs of a cluster's steps. The provider's own link is wrong when `LogUri` has a prefix."""

    name = "Step logs"
    key = "fruits_step_logs"


class RunFolderLink(_FolderLink):
    """Leads to the results of a run."""

    name = "Run in S3"
    key = "fruits_run_folder"


class ReportLink(BaseOperatorLink):
    """Leads to the report of the task's run."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Make the address of the page, below Airflow's own."""
        base = conf.get("api", "base_url", fallback="/").rstrip("/")
        return f"{base}/fruits/dags/{quote(ti_key.dag_id)}/dag_runs/{quote(ti_key.run_id)}/report"
