"""Failure alerts: a message to the deployment's SNS topic when a task has failed after its last retry."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.sns import SnsHook
from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

from fruits_airflow.hooks.aws import RETRY_CONFIG

if TYPE_CHECKING:
    from airflow.sdk import Context

MESSAGE = """\
{{ exception | default('Airflow reports no reason. See the log.', true) | string | truncate(4000) }}

DAG:  {{ dag.dag_id }}
Run:  {{ run_id }}
Task: {{ ti.task_id }}, try {{ ti.try_number }}
Log:  {{ ti.log_url }}
"""
SUBJECT = "Airflow: {{ (dag.dag_id ~ '.' ~ ti.task_id)[:70] }} failed"
"""At most 100 characters (SNS API reference, Publish)."""


class FailureAlert(SnsNotifier):
    """Publish the DAG, run, error and log URL of a failed task to `FRUITS_ALERT_TOPIC_ARN`.

    The setting is read when a task fails, not while a DAG is parsed. The region comes from the topic's ARN.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(target_arn="", message=MESSAGE, subject=SUBJECT, **kwargs)

    @cached_property
    def hook(self) -> SnsHook:
        """SNS hook with the retry policy of `fruits_airflow.hooks.aws`."""
        return SnsHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name, config=RETRY_CONFIG)  # type: ignore[no-untyped-call]

    def notify(self, context: Context) -> None:
        """Publish the message if the deployment names a topic."""
        from include.settings import settings

        topic = settings().alert_topic_arn
        if topic:
            self.target_arn, self.region_name = topic, topic.split(":")[3]
            super().notify(context)  # type: ignore[no-untyped-call]
