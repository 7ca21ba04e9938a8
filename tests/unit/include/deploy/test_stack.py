"""Stacks and change sets that CloudFormation rejects. Responses have the shapes of the API's model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from include.deploy import cli
from include.deploy.stack import Stack, StackError
from tests.support.stacks import REGION

VALIDATION = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To troubleshoot Early "
    "Validation errors, use the DescribeEvents API for detailed failure information."
)
"""A reason that users of CloudFormation quote."""


STACK = "arn:aws:cloudformation:eu-west-1:123456789012:stack/fruits/1"
NOW = datetime.now(UTC)


@pytest.fixture
def responses() -> Stubber:
    client = boto3.client(
        "cloudformation",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - of nobody
    )
    stubber = Stubber(client)
    stubber.activate()
    return stubber


@pytest.fixture
def formation(responses: Stubber) -> Stubber:
    """A client of an account without the stack, which accepts a change set."""
    responses.add_client_error("describe_stacks", "ValidationError", "Stack with id fruits does not exist")
    responses.add_response("create_change_set", {})
    return responses


def _reject(formation: Stubber, reason: str, *events: dict[str, Any]) -> None:
    failed = {"Status": "FAILED", "StatusReason": reason}
    for _ in range(2):  # by the waiter, and for the reason
        formation.add_response("describe_change_set", failed)
    if events:
        fixed = {"StackId": "fruits", "EventId": "1", "Timestamp": NOW}
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


def _stack_in(responses: Stubber, status: str) -> None:
    stack = {"StackName": "fruits", "StackId": STACK, "CreationTime": NOW, "StackStatus": status}
    responses.add_response("describe_stacks", {"Stacks": [stack]})


def _events(responses: Stubber, *oldest_first: tuple[str, str, str]) -> None:
    """Add the events of a stack: resource, state and reason of each."""
    events = [
        {
            "StackId": STACK,
            "EventId": "1",
            "StackName": "fruits",
            "Timestamp": NOW,
            "LogicalResourceId": resource,
            "PhysicalResourceId": STACK if resource == "fruits" else resource,
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
        }
        for resource, status, reason in reversed(oldest_first)
    ]
    responses.add_response("describe_stack_events", {"StackEvents": events})


@pytest.mark.parametrize(
    ("status", "command"),
    [
        ("ROLLBACK_COMPLETE", "delete-stack"),
        ("DELETE_FAILED", "delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
    ],
)
def test_stack_that_cannot_be_updated_is_reported_with_the_command_that_ends_its_state(
    responses: Stubber, status: str, command: str
) -> None:
    _stack_in(responses, status)
    _events(responses, ("Bucket", "UPDATE_FAILED", "orchard exists"))

    with pytest.raises(StackError) as raised:
        Stack(responses.client, "fruits").plan({})

    assert str(raised.value) == (
        f"Stack fruits is in {status} and cannot be updated. Fix the causes below, run `aws cloudformation {command} "
        f"--stack-name fruits --region {REGION}`, wait until it is complete, and deploy again.\n"
        "  Bucket: orchard exists"
    )


def test_failed_update_is_reported_without_the_failures_of_earlier_ones(responses: Stubber) -> None:
    _stack_in(responses, "UPDATE_ROLLBACK_FAILED")
    _events(
        responses,
        ("fruits", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Alerts", "UPDATE_FAILED", "of last year"),
        ("fruits", "UPDATE_ROLLBACK_COMPLETE", ""),
        ("fruits", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Bucket", "UPDATE_IN_PROGRESS", ""),
        ("Bucket", "UPDATE_FAILED", "first cause"),
        ("fruits", "UPDATE_ROLLBACK_IN_PROGRESS", ""),
        ("Key", "UPDATE_FAILED", "second cause"),
    )

    with pytest.raises(StackError) as raised:
        Stack(responses.client, "fruits").plan({})

    assert str(raised.value).splitlines()[1:] == ["  Bucket: first cause", "  Key: second cause"]


@pytest.mark.parametrize(
    ("policy", "end"), [("ReplaceAndRetain", "kept outside of the stack"), ("ReplaceAndDelete", "deleted")]
)
def test_plan_shows_what_happens_to_a_replaced_resource(
    formation: Stubber, policy: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {
        "Action": "Modify",
        "LogicalResourceId": "Bucket",
        "ResourceType": "AWS::S3::Bucket",
        "Replacement": "True",
        "PolicyAction": policy,
    }
    for _ in range(2):  # by the waiter, and for the changes
        formation.add_response(
            "describe_change_set",
            {"Status": "CREATE_COMPLETE", "Changes": [{"Type": "Resource", "ResourceChange": change}]},
        )

    cli._show_stack(Stack(formation.client, "fruits").plan({}))  # noqa: SLF001

    assert (
        capsys.readouterr().out
        == f"  modify  Bucket                    AWS::S3::Bucket  REPLACED: the old one is {end}\n"
    )
