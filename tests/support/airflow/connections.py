"""Airflow's connection to AWS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


def use_only_the_connection(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    """Move the credentials from the environment to `aws_default`. S3 refuses those that stay in the environment.

    Args:
        monkeypatch: Undoes the change.
        environment: Variables with credentials that the local AWS accepts.
    """
    connection = {
        "conn_type": "aws",
        "login": environment["AWS_ACCESS_KEY_ID"],
        "password": environment["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": "eu-west-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-process")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-process")
