"""The CloudFormation stack: planned changes and their execution."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import (
        ParameterTypeDef,
        StackEventTypeDef,
        StackTypeDef,
        TagTypeDef,
        WaiterConfigTypeDef,
    )

TEMPLATE = Path(__file__).with_name("fruits.yaml")
TAG: TagTypeDef = {"Key": "application", "Value": "fruits-image-features"}
EVERY_5_S: WaiterConfigTypeDef = {"Delay": 5, "MaxAttempts": 240}
_NOTHING_NEW = re.compile("didn't contain changes|No updates are to be performed")
_NOT_YET = "REVIEW_IN_PROGRESS"
"""State of a stack that has a change set and no resources yet."""
_STARTED = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
"""States of a stack in the first event of an operation."""
_FIXES = {
    **dict.fromkeys(("CREATE_FAILED", "DELETE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"), "delete-stack"),
    "UPDATE_ROLLBACK_FAILED": "continue-update-rollback",
}
"""Commands of AWS's CLI that end a state in which a stack cannot be updated (CloudFormation User Guide, "Stack status
codes")."""


class StackError(Exception):
    """The stack cannot be deployed; the message has the reason and the fix."""


@dataclass(frozen=True)
class Change:
    """One resource that a deployment would add, change or remove.

    Args:
        action: Action in CloudFormation's words (`Add`, `Modify`, `Remove`).
        resource: Logical ID of the resource.
        kind: Resource type, such as `AWS::S3::Bucket`.
        replacement: Whether the resource may be replaced by a new one.
        is_kept: Whether a replaced or removed resource stays in the account.
    """

    action: str
    resource: str
    kind: str
    replacement: bool
    is_kept: bool


@dataclass(frozen=True)
class Plan:
    """A change set that is ready to be executed.

    Args:
        change_set: Name of the change set.
        creates: Whether the stack is new.
        changes: Changes of the stack's resources.
    """

    change_set: str
    creates: bool
    changes: list[Change]


class Stack:
    """One stack, which may not exist yet.

    Args:
        formation: Client in the stack's region.
        name: Name of the stack.
    """

    def __init__(self, formation: CloudFormationClient, name: str) -> None:
        self.formation = formation
        self.name = name

    def plan(self, parameters: Mapping[str, str]) -> Plan | None:
        """Return the changes that a deployment would make; None if there is none.

        Args:
            parameters: Values of template parameters; others keep their current value, or have their default.

        Raises:
            StackError: The stack's state does not allow a change, or CloudFormation rejects the template.
        """
        current = self._describe()
        self._require_deployable(current)
        creates = current is None or current["StackStatus"] == _NOT_YET
        change_set = f"deploy-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        try:
            self.formation.create_change_set(
                StackName=self.name,
                ChangeSetName=change_set,
                ChangeSetType="CREATE" if creates else "UPDATE",
                TemplateBody=TEMPLATE.read_text(),
                Parameters=_parameters(parameters, {} if creates else dict(current or {})),
                Capabilities=["CAPABILITY_NAMED_IAM"],  # the instance profile has a name
                Tags=[TAG],
            )
        except ClientError as error:
            if _NOTHING_NEW.search(str(error)):
                return None
            raise
        return self._wait_for_plan(change_set, creates=creates)

    def apply(self, plan: Plan) -> None:
        """Execute a plan and wait for its end.

        Raises:
            StackError: The deployment failed; the message has the reason for each failed resource.
        """
        self.formation.execute_change_set(StackName=self.name, ChangeSetName=plan.change_set)
        waiter = self.formation.get_waiter("stack_create_complete" if plan.creates else "stack_update_complete")
        try:
            waiter.wait(StackName=self.name, WaiterConfig=EVERY_5_S)
        except WaiterError:
            raise StackError(f"Stack {self.name} could not be deployed:\n{self._reasons()}") from None

    def drop(self, plan: Plan) -> None:
        """Delete a plan, together with the empty stack that it created."""
        self.formation.delete_change_set(StackName=self.name, ChangeSetName=plan.change_set)
        if plan.creates:
            self.formation.delete_stack(StackName=self.name)

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the stack; empty without a stack."""
        stack = self._describe()
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])} if stack else {}

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the stack; empty without a stack."""
        stack = self._describe()
        return {item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", [])} if stack else {}

    def _describe(self) -> StackTypeDef | None:
        try:
            return self.formation.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def _require_deployable(self, current: StackTypeDef | None) -> None:
        status = current["StackStatus"] if current else _NOT_YET
        if status in _FIXES:
            stack = f"--stack-name {self.name} --region {self.formation.meta.region_name}"
            raise StackError(
                f"Stack {self.name} is in {status} and cannot be updated. Fix the causes below, run "
                f"`aws cloudformation {_FIXES[status]} {stack}`, wait until it is complete, and deploy again.\n"
                f"{self._reasons()}"
            )
        if status != _NOT_YET and status.endswith("_IN_PROGRESS"):
            raise StackError(f"Stack {self.name} is in {status}. Wait until the change is complete, then deploy again.")

    def _wait_for_plan(self, change_set: str, *, creates: bool) -> Plan | None:
        """Wait until CloudFormation has computed a change set, and return it; None if it contains no change."""
        waiter = self.formation.get_waiter("change_set_create_complete")
        try:
            waiter.wait(StackName=self.name, ChangeSetName=change_set, WaiterConfig=EVERY_5_S)
        except WaiterError:
            response = self.formation.describe_change_set(StackName=self.name, ChangeSetName=change_set)
            reason = response.get("StatusReason", "")
            if "EarlyValidation" in reason:
                reason += self._failed_validations(change_set)
            self.drop(Plan(change_set, creates, []))
            if _NOTHING_NEW.search(reason):
                return None
            raise StackError(f"CloudFormation rejects the change: {reason}") from None
        pages = self.formation.get_paginator("describe_change_set").paginate(
            StackName=self.name, ChangeSetName=change_set
        )
        changes = [_change(change["ResourceChange"]) for page in pages for change in page["Changes"]]
        return Plan(change_set, creates, changes)

    def _failed_validations(self, change_set: str) -> str:
        """Return the reason for each failed validation of a change set, which its status only refers to.

        Source: CloudFormation API Reference, "DescribeEvents" (`ValidationStatusReason`).
        """
        pages = self.formation.get_paginator("describe_events").paginate(
            StackName=self.name, ChangeSetName=change_set, Filters={"FailedEvents": True}
        )
        failed = (event for page in pages for event in page["OperationEvents"] if "ValidationStatusReason" in event)
        return "".join(
            f"\n  {event.get('ValidationPath', event.get('LogicalResourceId'))}: {event['ValidationStatusReason']}"
            for event in failed
        )

    def _reasons(self) -> str:
        """Return CloudFormation's reason for each resource that failed in the latest operation, in this order."""
        pages = self.formation.get_paginator("describe_stack_events").paginate(StackName=self.name)
        newest_first = (event for page in pages for event in page["StackEvents"])
        failed = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
            for event in takewhile(lambda event: not _starts_operation(event), newest_first)
            if event.get("ResourceStatus", "").endswith("_FAILED")
        ]
        return "\n".join(reversed(failed)) or "  CloudFormation reports no reason."


def _starts_operation(event: StackEventTypeDef) -> bool:
    """Return whether an event is the stack's own at the start of an operation, and not that of a resource."""
    return event.get("PhysicalResourceId") == event["StackId"] and event.get("ResourceStatus") in _STARTED


def _parameters(given: Mapping[str, str], current: Mapping[str, Any]) -> list[ParameterTypeDef]:
    values: list[ParameterTypeDef] = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    kept = [item["ParameterKey"] for item in current.get("Parameters", []) if item["ParameterKey"] not in given]
    values += [{"ParameterKey": key, "UsePreviousValue": True} for key in kept]
    return values


def _change(response: Any) -> Change:  # noqa: ANN401 - one of botocore's many shapes
    return Change(
        response["Action"],
        response["LogicalResourceId"],
        response["ResourceType"],
        response.get("Replacement") in {"True", "Conditional"},
        response.get("PolicyAction") in {"Retain", "ReplaceAndRetain"},
    )


def settings(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return Airflow's environment variables from a stack's outputs.

    >>> settings({"SettingEmrServiceRole": "r", "AirflowRoleArn": "a"})
    {'FRUITS_EMR_SERVICE_ROLE': 'r'}
    """
    words = {key.removeprefix("Setting"): value for key, value in outputs.items() if key.startswith("Setting")}
    return {"FRUITS" + re.sub(r"([A-Z])", r"_\1", word).upper(): value for word, value in words.items()}
