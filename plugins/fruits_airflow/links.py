"""Links of a task in Airflow's UI to the AWS console: where its step's logs and its run's results lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
    from airflow.sdk import Context


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
