"""What every `airflow dags test` imports and builds before its first task: the forks' parent does it once."""

import airflow.__main__
import airflow.cli.commands.dag_command  # noqa: F401 - imported for the forks
from airflow.sdk.execution_time.supervisor import in_process_api_server
from fastapi.testclient import TestClient

# Its routes are made at the first request; the client's thread has ended when it returns, so that forks are safe.
TestClient(in_process_api_server().app).get("/health").raise_for_status()
