"""Measure the page of published runs with many viewers at once (docs/measurements/speed.md).

    PYTHONPATH=.:plugins:spark_apps python -m benchmarks.run_list --runs 2000 --viewers 40

The benchmark starts a local AWS, publishes runs in its bucket, and requests the page from threads that start together.
Airflow's API application answers in this process, without a network.
"""

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

from fruits_features.contract.layout import DatasetLayout, split
from include.dev.local_airflow.database import ensure_database
from include.dev.local_aws.local import LocalAws

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from mypy_boto3_s3 import S3Client

BUCKET = "fruits"
START = datetime(2026, 1, 1, tzinfo=UTC)


def publish(s3: "S3Client", runs: int) -> None:
    """Write the documents of published runs."""

    def put(number: int) -> None:
        run, time_ = f"r{number}", (START + timedelta(hours=number)).isoformat()
        record = {
            "run": run,
            "dag": {"dag_id": "fruits_features"},
            "counts": {"features": 90_380, "quarantine": 12},
            "categories": {f"Fruit {category}": 690 for category in range(131)},
            "projection": {"components": 128, "explained_variance": 0.95},
            "files": {f"features/part-{part:05}.parquet": "etag:" + 32 * "0" for part in range(20)},
        }
        pointer = json.dumps({"run": run, "published_at": time_}).encode()
        uri = DatasetLayout(BUCKET).latest if number == runs - 1 else DatasetLayout(BUCKET).publication(time_, run)
        for target, body in ((DatasetLayout(BUCKET).run(run).record, json.dumps(record).encode()), (uri, pointer)):
            bucket, key = split(target)
            s3.put_object(Bucket=bucket, Key=key, Body=body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(runs)))


def view(client: "TestClient", viewers: int) -> tuple[float, float]:
    """Return the seconds until the last of some viewers has the page, and the longest request."""
    from airflow.api_fastapi.app import get_auth_manager  # noqa: PLC0415 - after Airflow's home is set
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: PLC0415

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role="viewer"))
    start = Barrier(viewers)

    def request(_: int) -> float:
        start.wait()
        began = time.perf_counter()
        page = client.get("/fruits/", headers={"Authorization": f"Bearer {token}"})
        if page.status_code != 200 or "fruits_features" not in page.text:  # noqa: PLR2004
            raise SystemExit(page.text[:500])
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(viewers) as pool:
        longest = max(pool.map(request, range(viewers)))
    return time.perf_counter() - began, longest


def main() -> None:
    """Print the times of the first viewers and of the next ones."""
    parser = argparse.ArgumentParser("python -m benchmarks.run_list", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="published runs (default: %(default)s)")
    parser.add_argument(
        "--viewers", type=int, default=40, help="users who request the page at once (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalAws(Path(folder) / "aws") as aws:
        variables = {**aws.process_environment, "FRUITS_BUCKET": BUCKET, "AIRFLOW_HOME": folder}
        os.environ.clear()
        os.environ |= variables
        os.environ |= {"AIRFLOW__CORE__PLUGINS_FOLDER": str(Path("plugins").resolve())}
        os.environ |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": folder}
        from airflow.api_fastapi.app import create_app  # noqa: PLC0415 - after Airflow's home is set
        from fastapi.testclient import TestClient  # noqa: PLC0415

        ensure_database(Path(folder), os.environ)
        publish(aws.s3(), options.runs)
        client = TestClient(create_app("core"))
        print("| runs | viewers | state | seconds until all have the page | longest request, seconds |\n|" + "---|" * 5)
        for state in ("first viewers", "next viewers"):
            seconds, longest = view(client, options.viewers)
            print(f"| {options.runs} | {options.viewers} | {state} | {seconds:.2f} | {longest:.2f} |")


if __name__ == "__main__":
    main()
