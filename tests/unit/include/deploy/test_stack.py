"""Change sets that CloudFormation rejects. Responses have the shapes of the API's model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from include.deploy.stack import Stack, StackError
from tests.support.stacks import REGION

VALIDATION = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To troubleshoot Early "
    "Validation errors, use the DescribeEvents API for detailed failure information."
)
"""A reason that users of CloudFormation quote."""


@pytest.fixture
def formation() -> Stubber:
    client = boto3.client(
        "cloudformation",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - of nobody
    )
    stubber = Stubber(client)
    stubber.activate()
    stubber.add_client_error("describe_stacks", "ValidationError", "Stack with id fruits does not exist")
    stubber.add_response("create_change_set", {})
    return stubber


def _reject(formation: Stubber, reason: str, *events: dict[str, Any]) -> None:
    failed = {"Status": "FAILED", "StatusReason": reason}
    for _ in range(2):  # by the waiter, and for the reason
        formation.add_response("describe_change_set", failed)
    if events:
        fixed = {"StackId": "fruits", "EventId": "1", "Timestamp": datetime.now(UTC)}
        asked = {"StackName": "fruits", "ChangeSetName": ANY, "Filters": {"FailedEvents": True}}
        formation.add_response("describe_events", {"OperationEvents": [fixed | event for event in events]}, asked)
    formation.add_response("delete_change_set", {})
    formation.add_response("delete_stack", {})


def test_rejected_change_set_is_deleted_and_its_reason_is_reported(formation: Stubber) -> None:
    _reject(formation, "Parameters: [VpcId] must have values")

    with pytest.raises(StackError, match=r"rejects the change: Parameters: \[VpcId\] must have values$"):
        Stack(formation.client, "fruits").plan({})
    formation.assert_no_pending_responses()


def test_failed_validations_are_reported_before_the_change_set_is_deleted(formation: Stubber) -> None:
    _reject(
        formation,
        VALIDATION,
        {"EventType": "STACK_EVENT"},
        {
            "EventType": "VALIDATION_ERROR",
            "LogicalResourceId": "Bucket",
            "ValidationPath": "/Resources/Bucket/Properties/BucketName",
            "ValidationStatus": "FAILED",
            "ValidationStatusReason": "Resource with identifier orchard already exists.",
        },
    )

    with pytest.raises(StackError) as raised:
        Stack(formation.client, "fruits").plan({})

    assert str(raised.value).endswith(
        f"{VALIDATION}\n  /Resources/Bucket/Properties/BucketName: Resource with identifier orchard already exists."
    )
    formation.assert_no_pending_responses()
