"""One stack of `fruits.yaml` for all tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from tests.unit.infrastructure.stacks import amazons_policy, create

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.infrastructure.stacks import Stack


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """An AWS of moto's."""
    with pytest.MonkeyPatch.context() as patch, amazons_policy(), mock_aws():
        patch.delenv("AWS_PROFILE", raising=False)
        yield


@pytest.fixture(scope="module")
def stack(aws: None) -> Stack:  # noqa: ARG001 - it has to be there
    return create("fruits", {})
