"""Checks of free addresses and instance types, against moto's EC2 with AWS's own list of offerings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.deploy.preflight.capacity import OTHER_SUBNETS, capacity
from include.deploy.preflight.problems import Problem
from include.settings import Settings
from tests.support.network import Network


@pytest.fixture
def there(aws: None) -> Network:  # noqa: ARG001 - moto must be active
    return Network()


def _problems(there: Network, *subnets: str, **changed: object) -> list[Problem]:
    deployment = replace(there.deployment, subnets=subnets or there.deployment.subnets, **changed)
    return list(capacity(there.ec2, deployment, Settings()))


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_subnet_with_addresses_and_types_has_no_problem(there: Network, size: str) -> None:
    assert _problems(there, size=size) == []


def test_stack_without_a_vpc_is_not_checked(there: Network) -> None:
    assert _problems(there, vpc=None) == []


def test_subnet_with_few_addresses_stops(there: Network) -> None:
    small = there.add_subnet("10.0.1.0/28")

    assert _problems(there, small, size="medium") == []
    assert _problems(there, small, size="large") == [
        Problem(f"Subnet {small} has 11 free addresses; a large cluster needs 18.", OTHER_SUBNETS)
    ]


def test_subnet_with_few_addresses_does_not_stop_if_another_one_has_enough(there: Network) -> None:
    small = there.add_subnet("10.0.1.0/28")

    (problem,) = _problems(there, small, there.subnet, size="large")

    assert small in problem.sentence
    assert not problem.stops


def test_zone_without_types_for_a_fleet_stops(aws: None) -> None:  # noqa: ARG001 - moto must be active
    there = Network("us-east-1")
    old = there.add_subnet("10.0.1.0/24", "e")

    assert _problems(there, old) == [
        Problem(
            f"EC2 offers no type of the price table for the primary and core nodes in us-east-1e (subnet {old}).",
            OTHER_SUBNETS,
        )
    ]


def test_zone_without_types_does_not_stop_if_another_one_has_them(aws: None) -> None:  # noqa: ARG001 - moto must be active
    there = Network("us-east-1")
    old, new = (there.add_subnet(f"10.0.{number}.0/24", zone) for number, zone in [(1, "e"), (2, "a")])

    (problem,) = _problems(there, old, new)

    assert old in problem.sentence
    assert not problem.stops


def test_zone_with_only_some_types_does_not_stop(aws: None) -> None:  # noqa: ARG001 - moto must be active
    there = Network("eu-south-1")
    subnet = there.add_subnet("10.0.1.0/24", "a")

    (problem,) = _problems(there, subnet)

    assert problem == Problem(
        f"EC2 does not offer m7g.xlarge and m7g.2xlarge in eu-south-1a (subnet {subnet}); if EMR refuses clusters, "
        "remove them from a copy of include/emr/prices.toml.",
        "export FRUITS_PRICES=…",
        stops=False,
    )


def test_subnets_that_each_lack_something_stop(aws: None) -> None:  # noqa: ARG001 - moto must be active
    there = Network("us-east-1")
    old = there.add_subnet("10.0.1.0/24", "e")
    small = there.add_subnet("10.0.2.0/28", "a")

    problems = _problems(there, old, small, size="large")

    assert [problem.stops for problem in problems] == [True, True]
