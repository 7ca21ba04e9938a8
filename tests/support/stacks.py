"""The stack of `fruits.yaml`, as moto creates it."""

from __future__ import annotations

import ast
import json
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import moto.iam.models
import pytest
from moto.core import DEFAULT_ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REGION = "eu-west-1"
TEMPLATE = Path(__file__).parents[2] / "include" / "deploy" / "fruits.yaml"


@dataclass(frozen=True)
class Stack:
    """A created stack and its resources."""

    outputs: dict[str, str]
    resources: dict[str, str]
    account: str = DEFAULT_ACCOUNT_ID

    @property
    def bucket(self) -> str:
        return self.outputs["SettingBucket"]

    def policies(self, role: str) -> list[dict[str, Any]]:
        """Return the inline policies of a role."""
        iam, name = boto3.client("iam", region_name=REGION), self.resources[role]
        names = iam.list_role_policies(RoleName=name)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=name, PolicyName=one)["PolicyDocument"] for one in names]
        return [ast.literal_eval(str(document)) for document in documents]  # moto returns Python's notation

    def trust(self, role: str) -> dict[str, Any]:
        """Return the trust policy of a role."""
        iam = boto3.client("iam", region_name=REGION)
        document: dict[str, Any] = iam.get_role(RoleName=self.resources[role])["Role"]["AssumeRolePolicyDocument"]
        return document

    def security_configuration(self) -> dict[str, Any]:
        emr = boto3.client("emr", region_name=REGION)
        name = self.outputs["SettingEmrSecurityConfiguration"]
        shown = emr.describe_security_configuration(Name=name)["SecurityConfiguration"]
        document: dict[str, Any] = ast.literal_eval(shown)  # moto returns Python's notation
        return document


MANAGED = "AmazonEMRServicePolicy_v2"


@cache
def managed_policy() -> dict[str, Any]:
    """Return Amazon's policy for EMR's service role, from moto's copy of all of Amazon's policies."""
    policies: dict[str, dict[str, Any]] = json.loads(moto.iam.models.aws_managed_policies_data)
    return policies[MANAGED]


@contextmanager
def amazons_policy() -> Iterator[None]:
    """Load only the managed policy that we attach into moto: reading all of them is slow."""
    policy = managed_policy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moto.iam.models, "aws_managed_policies_data", json.dumps({MANAGED: policy}))
        patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        yield


def create(name: str, parameters: Mapping[str, str]) -> Stack:
    """Create a stack in moto's AWS."""
    vpc = boto3.client("ec2", region_name=REGION).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    formation = boto3.client("cloudformation", region_name=REGION)
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in {"VpcId": vpc, **parameters}.items()]
    formation.create_stack(
        StackName=name, TemplateBody=TEMPLATE.read_text(), Parameters=given, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    listed = formation.describe_stack_resources(StackName=name)["StackResources"]
    shown = {"LogicalResourceId", "PhysicalResourceId"}  # moto lacks both for resources that it does not implement
    return Stack(
        {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]},
        {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in listed if shown <= one.keys()},
    )
