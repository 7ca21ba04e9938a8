"""The CloudFormation stack: what a deployment would change in it, and changing it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef, StackTypeDef, TagTypeDef, WaiterConfigTypeDef

TEMPLATE = Path(__file__).with_name("fruits.yaml")
TAG: TagTypeDef = {"Key": "application", "Value": "fruits-image-features"}
EVERY_5_S: WaiterConfigTypeDef = {"Delay": 5, "MaxAttempts": 240}
_NOTHING_NEW = re.compile("didn't contain changes|No updates are to be performed")
_NOT_YET = "REVIEW_IN_PROGRESS"
"""State of a stack that a change set has announced and nobody has made."""
_UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


class StackError(Exception):
    """The stack cannot be deployed; the message says why and what to do."""


@dataclass(frozen=True)
class Change:
    """One resource that a deployment would add, change or remove."""

    action: str
    resource: str
    kind: str
    replacement: bool


@dataclass(frozen=True)
class Plan:
    """A change set that waits for a word."""

    change_set: str
    creates: bool
    changes: list[Change]


class Stack:
    """One stack, there or not.

    Args:
        formation: a client in the stack's region.
        name: the stack's.
    """

    def __init__(self, formation: CloudFormationClient, name: str) -> None:
        self.formation = formation
        self.name = name

    def plan(self, parameters: Mapping[str, str]) -> Plan | None:
        """Return what a deployment would change; None if nothing.

        Args:
            parameters: values of the template's; those not given keep what they are, or their defaults.

        Raises:
            StackError: the stack is in a state from which it cannot be changed, or the template is refused.
        """
        there = self._described()
        self._require_deployable(there)
        creates = there is None or there["StackStatus"] == _NOT_YET
        change_set = f"deploy-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        try:
            self.formation.create_change_set(
                StackName=self.name,
                ChangeSetName=change_set,
                ChangeSetType="CREATE" if creates else "UPDATE",
                TemplateBody=TEMPLATE.read_text(),
                Parameters=_parameters(parameters, {} if creates else dict(there or {})),
                Capabilities=["CAPABILITY_IAM"],
                Tags=[TAG],
            )
        except ClientError as error:
            if _NOTHING_NEW.search(str(error)):
                return None
            raise
        return self._settled(change_set, creates=creates)

    def apply(self, plan: Plan) -> None:
        """Do what was planned, and wait until it is done.

        Raises:
            StackError: it could not be done; the message has each resource's reason.
        """
        self.formation.execute_change_set(StackName=self.name, ChangeSetName=plan.change_set)
        waiter = self.formation.get_waiter("stack_create_complete" if plan.creates else "stack_update_complete")
        try:
            waiter.wait(StackName=self.name, WaiterConfig=EVERY_5_S)
        except WaiterError:
            raise StackError(f"Stack {self.name} could not be deployed:\n{self._reasons()}") from None

    def drop(self, plan: Plan) -> None:
        """Forget a plan; a stack that it only announced is forgotten with it."""
        self.formation.delete_change_set(StackName=self.name, ChangeSetName=plan.change_set)
        if plan.creates:
            self.formation.delete_stack(StackName=self.name)

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the stack; empty if there is none."""
        stack = self._described()
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])} if stack else {}

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the stack; empty where there is none."""
        stack = self._described()
        return {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])} if stack else {}

    def _described(self) -> StackTypeDef | None:
        try:
            return self.formation.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def _require_deployable(self, there: StackTypeDef | None) -> None:
        status = there["StackStatus"] if there else _NOT_YET
        if status in {_NOT_YET, *_UPDATABLE}:
            return
        if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}:
            raise StackError(
                f"Stack {self.name} is in {status}: its creation failed and it can only be deleted. See why below, "
                f"then `aws cloudformation delete-stack --stack-name {self.name}` and deploy again.\n{self._reasons()}"
            )
        raise StackError(f"Stack {self.name} is in {status}: wait until that is over, then deploy again.")

    def _settled(self, change_set: str, *, creates: bool) -> Plan | None:
        """Wait until CloudFormation has worked out a change set."""
        waiter = self.formation.get_waiter("change_set_create_complete")
        try:
            waiter.wait(StackName=self.name, ChangeSetName=change_set, WaiterConfig=EVERY_5_S)
        except WaiterError:
            answer = self.formation.describe_change_set(StackName=self.name, ChangeSetName=change_set)
            reason = answer.get("StatusReason", "")
            self.drop(Plan(change_set, creates, []))
            if _NOTHING_NEW.search(reason):
                return None
            raise StackError(f"CloudFormation refuses the change: {reason}") from None
        pages = self.formation.get_paginator("describe_change_set").paginate(
            StackName=self.name, ChangeSetName=change_set
        )
        changes = [_change(one["ResourceChange"]) for page in pages for one in page["Changes"]]
        return Plan(change_set, creates, changes)

    def _reasons(self) -> str:
        """Return why resources failed, the first one first, as CloudFormation reports it."""
        pages = self.formation.get_paginator("describe_stack_events").paginate(StackName=self.name)
        failed = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
            for page in pages
            for event in page["StackEvents"]
            if event.get("ResourceStatus", "").endswith("_FAILED")
        ]
        return "\n".join(reversed(failed)) or "  CloudFormation reports no reason."


def _parameters(given: Mapping[str, str], there: Mapping[str, Any]) -> list[ParameterTypeDef]:
    values: list[ParameterTypeDef] = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    kept = [one["ParameterKey"] for one in there.get("Parameters", []) if one["ParameterKey"] not in given]
    values += [{"ParameterKey": key, "UsePreviousValue": True} for key in kept]
    return values


def _change(shown: Any) -> Change:  # noqa: ANN401 - one of botocore's many shapes
    return Change(
        shown["Action"],
        shown["LogicalResourceId"],
        shown["ResourceType"],
        shown.get("Replacement") in {"True", "Conditional"},
    )


def settings(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Airflow needs, from a stack's outputs.

    >>> settings({"SettingEmrServiceRole": "r", "AirflowRoleArn": "a"})
    {'FRUITS_EMR_SERVICE_ROLE': 'r'}
    """
    words = {key.removeprefix("Setting"): value for key, value in outputs.items() if key.startswith("Setting")}
    return {"FRUITS" + re.sub(r"([A-Z])", r"_\1", word).upper(): value for word, value in words.items()}
