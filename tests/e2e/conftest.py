"""Fixtures of the tests that run complete DAGs against the local AWS."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from include.dev.local_airflow.database import ensure_database
from include.dev.local_aws.deployment import deploy
from include.dev.local_aws.emr.faults import FAULT_TAG
from include.dev.local_aws.s3.fault_proxy import S3FaultProxy
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.pipeline import DATE, ODD_NAMES, PARAMS, RECORDER, Pipeline, Published, with_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.dev.local_aws.local import LocalAws


@pytest.fixture(scope="session")
def airflow_environment(local_aws: LocalAws) -> Mapping[str, str]:
    environment = local_aws.process_environment | {"FRUITS_NO_CLUSTER_BELOW": "0"}
    deploy(local_aws.s3())
    ensure_database(Path(environment["AIRFLOW_HOME"]), environment)
    return environment


@pytest.fixture(scope="session")
def pipeline(local_aws: LocalAws, airflow_environment: Mapping[str, str]) -> Pipeline:
    """A bucket that all tests share, and the DAGs to run on it."""
    return Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("orchard"), airflow_environment)


@pytest.fixture(scope="session")
def published(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A published run over generated images, odd names, and images of each quarantine reason.

    It has a second step, unlike the other runs.
    """
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 48), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    good = next(folder.rglob("*.jpg")).read_bytes()
    for key in ODD_NAMES:
        pipeline.put(key, good)
    pipeline.put("images/Test/Banana/text.jpg", b"no image at all")
    pipeline.put("images/Test/Banana/empty.jpg", b"")
    pipeline.put("images/Test/Banana/cut.jpg", good[: len(good) // 2])
    pipeline.put("images/Test/Banana/huge.png", bytes(cv2.imencode(".png", np.zeros((10_000, 10_000), np.uint8))[1]))
    pipeline.put("images/stray.jpg", good)
    calls = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    path = f"{RECORDER}{os.pathsep}{pipeline.environment.get('PYTHONPATH', '')}"
    server = urlsplit(pipeline.environment["AWS_ENDPOINT_URL_S3"])
    address = str(server.hostname), int(server.port or 0)
    with S3FaultProxy(address) as of_airflow, S3FaultProxy(address) as of_nodes:
        environment = {
            **with_credentials(pipeline.environment),
            "FRUITS_VALIDATE_ON_CLUSTER_ABOVE": "1",
            "PYTHONPATH": path,
            "FRUITS_TEST_CALLS": str(calls),
            "AWS_ENDPOINT_URL_S3": of_airflow.url,
            "FRUITS_EMR_TAGS": json.dumps({FAULT_TAG: f"s3-endpoint:{of_nodes.url}"}),
        }
        run = replace(pipeline, environment=environment).run_installed_command(DATE, **PARAMS)
    assert run.ok, run.error
    return Published(
        pipeline.latest(),
        pipeline.table("features"),
        pipeline.table("quarantine"),
        run.log,
        calls,
        frozenset(of_airflow.seen),
        frozenset(of_nodes.seen),
    )
