"""An SNS topic of the local AWS and its messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from include.dev.local_aws import client

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws


class Topic:
    """A topic with a queue that receives its messages.

    Args:
        aws: Local AWS.
        name: Name of topic and queue.
    """

    def __init__(self, aws: LocalAws, name: str) -> None:
        sns, self._sqs = (client.connect(service, aws.environment) for service in ("sns", "sqs"))
        self.arn = sns.create_topic(Name=name)["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])

    def received(self) -> list[dict[str, Any]]:
        """Return and delete the messages received since the last call."""
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def close(self) -> None:
        """Delete the queue."""
        self._sqs.delete_queue(QueueUrl=self._queue)
