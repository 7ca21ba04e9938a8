"""Imports that each `airflow dags test` needs before its first task. The parent of the forks loads them once."""

import airflow.__main__
import airflow.cli.commands.dag_command  # noqa: F401 - imported for the forks
import botocore.session
from airflow.sdk.execution_time.supervisor import in_process_api_server
from fastapi.testclient import TestClient

from include.dev.local_aws.client import REGION
from tests.support import service_models

# The first request builds the routes. The client's thread has ended afterwards, so forks are safe.
TestClient(in_process_api_server().app).get("/health").raise_for_status()

# The forks then have the models of these services in memory.
service_models.read_once()
for service in ("ec2", "emr", "s3"):
    botocore.session.Session().create_client(service, region_name=REGION)
