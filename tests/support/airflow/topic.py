"""An SNS topic of the local AWS, and what comes to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws


class Topic:
    """A topic of its own, whose messages wait in a queue.

    Args:
        aws: where it is.
        name: of both.
    """

    def __init__(self, aws: LocalAws, name: str) -> None:
        found = aws.client_arguments("AWS_ENDPOINT_URL")
        sns, self._sqs = boto3.client("sns", **found), boto3.client("sqs", **found)
        self.arn = sns.create_topic(Name=name)["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])

    def told(self) -> list[dict[str, Any]]:
        """What has come since this was asked."""
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def close(self) -> None:
        """Remove the queue."""
        self._sqs.delete_queue(QueueUrl=self._queue)
