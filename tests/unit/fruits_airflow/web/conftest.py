"""Airflow's API server with the plugin's pages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.dev.local_airflow.database import ensure_database

if TYPE_CHECKING:
    from fastapi.testclient import TestClient


@pytest.fixture(scope="module")
def client() -> TestClient:
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    ensure_database(Path(os.environ["AIRFLOW_HOME"]), os.environ)
    return TestClient(create_app("core"))
