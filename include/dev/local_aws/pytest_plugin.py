"""Fixtures that start a local AWS on free ports and check that no process remains."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from include.dev.local_aws.local import LocalAws

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Start a local AWS for the session. Fail if tests leave an active cluster or if a process remains."""
    with LocalAws(tmp_path_factory.mktemp("local aws é"), state_s=0.3, interrupt_grace_s=10.0) as aws:
        yield aws
        active = aws.active_clusters()
        run_id = aws.run_id
    left = LocalAws.processes_of(run_id)
    assert not active, f"tests left active clusters: {active}"  # noqa: S101 - a test helper
    assert not left, f"processes remain after stop: {left}"  # noqa: S101 - a test helper


@pytest.fixture
def bucket(local_aws: LocalAws) -> str:
    """Create an empty bucket for one test."""
    return local_aws.create_bucket(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def aws_environment(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the environment variables with which boto3, obstore and Airflow's hooks find the local AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in local_aws.environment.items():
        monkeypatch.setenv(name, value)
    return local_aws.environment
