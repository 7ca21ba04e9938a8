"""Telling people that a task has failed for good: a message to the SNS topic that the deployment names, if it does."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.sns import SnsHook
from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

from fruits_airflow.hooks.aws import RETRY_CONFIG

if TYPE_CHECKING:
    from airflow.sdk import Context

MESSAGE = """\
{{ exception | default('Airflow tells no reason; see the log.', true) | string | truncate(4000) }}

DAG:  {{ dag.dag_id }}
Run:  {{ run_id }}
Task: {{ ti.task_id }}, try {{ ti.try_number }}
Log:  {{ ti.log_url }}
"""
SUBJECT = "Airflow: {{ (dag.dag_id ~ '.' ~ ti.task_id)[:70] }} failed"
"""SNS takes 100 characters at most."""


class FailureAlert(SnsNotifier):
    """Publishes a failed task's DAG, run, sentence and log's address to `FRUITS_ALERT_TOPIC_ARN`.

    The topic is looked up when a task fails, not when a DAG is parsed, and its region is the one that its name tells.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(target_arn="", message=MESSAGE, subject=SUBJECT, **kwargs)

    @cached_property
    def hook(self) -> SnsHook:
        """SNS by Airflow's connection, asked as patiently as all of AWS."""
        return SnsHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name, config=RETRY_CONFIG)  # type: ignore[no-untyped-call]

    def notify(self, context: Context) -> None:
        """Publish the message, where there is a topic."""
        from include.settings import settings

        topic = settings().alert_topic_arn
        if topic:
            self.target_arn, self.region_name = topic, topic.split(":")[3]
            super().notify(context)  # type: ignore[no-untyped-call]
