"""Logs, XComs, rendered templates and objects of a run contain no credential."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs
import pyarrow.parquet as pq

from tests.support.airflow.pipeline import planted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.airflow.pipeline import Pipeline, Published


def _artefacts(pipeline: Pipeline, published: Published) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of all results: output, Airflow's home (database, logs), bucket and nodes."""
    yield "output", published.log.encode()
    home = Path(pipeline.environment["AIRFLOW_HOME"])
    for file in home.rglob("*"):
        if file.is_file() and file.name != "airflow.cfg":  # Airflow's settings, which a run does not write
            yield f"airflow/{file.relative_to(home)}", file.read_bytes()
    for page in pipeline.s3.get_paginator("list_objects_v2").paginate(Bucket=pipeline.bucket):
        for entry in page["Contents"]:
            content = pipeline.get(f"s3://{pipeline.bucket}/{entry['Key']}")
            yield f"s3/{entry['Key']}", _readable(entry["Key"], content)
    nodes = pipeline.aws.state.clusters
    for file in nodes.rglob("*"):
        if file.is_file():
            yield f"nodes/{file.relative_to(nodes)}", file.read_bytes()


def _readable(name: str, content: bytes) -> bytes:
    """Return decompressed bytes. For Parquet, add the schema, its metadata and all texts."""
    if name.endswith(".gz"):
        return gzip.decompress(content)
    if not name.endswith(".parquet"):
        return content
    schema = pq.read_schema(io.BytesIO(content)).to_string(truncate_metadata=False)
    texts = pl.read_parquet(io.BytesIO(content)).select(cs.string(), cs.categorical())
    return content + schema.encode() + texts.write_csv().encode()


def test_results_of_a_run_contain_no_planted_credential(pipeline: Pipeline, published: Published) -> None:
    artefacts = dict(_artefacts(pipeline, published))
    run = published.latest["run"].encode()

    secrets = planted(pipeline.environment)
    leaks = {(name, secret) for name, content in artefacts.items() for secret in secrets if secret.encode() in content}

    assert leaks == set()
    holders = {name.partition("/")[0] for name, content in artefacts.items() if run in content}
    assert {"output", "airflow", "s3"} <= holders, "the search finds the run name in each kind of result"
    assert [name for name, content in artefacts.items() if name.endswith(".db") and run in content], "XComs"
    path = sorted(published.features["path"])[len(published.features) // 2].encode()
    assert [name for name, content in artefacts.items() if "/features/part" in name and path in content], "Parquet"
