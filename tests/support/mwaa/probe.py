"""Parses DAGs, serialises them, and follows each deferred task's trigger into Airflow's database and out of it again.

Run by an interpreter that has Airflow, with this project as its plugins: `python -P probe.py DAGS`. The last line that
it prints is a JSON document of what it has seen.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from unittest.mock import MagicMock, patch

from airflow import plugins_manager
from airflow._shared.module_loading import import_string
from airflow.dag_processing.dagbag import DagBag
from airflow.models.trigger import Trigger
from airflow.sdk.exceptions import TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization
from botocore.exceptions import ClientError

STEP = {"Name": "featurize", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit"]}}
RENDERED = {
    "wait_for_images": {"bucket": "fruits", "prefix": "images/", "wait_minutes": 1, "quiet_minutes": 0, "marker": ""},
    "cluster_ready": {"job_flow_id": "j-1"},
    "featurize_and_reduce": {"job_flow_id": "j-1", "steps": [STEP], "progress": "s3://fruits/run/progress.json"},
    "terminate_cluster": {"job_flow_id": "j-1"},
}
"""The tasks that wait in the triggerer, with what Airflow renders their templates to."""


def main(folder: str) -> None:
    bag = DagBag(folder)
    dag = bag.dags.get("fruits_features")
    plugins, plugin_errors = plugins_manager._get_plugins()  # noqa: SLF001 - as Airflow itself
    seen = {
        "python": sys.version_info[:2],
        "versions": {name: version(f"apache-airflow{name}") for name in ("", "-providers-amazon")},
        "errors": bag.import_errors,
        "dags": {name: sorted(_restored(one).task_dict) == sorted(one.task_dict) for name, one in bag.dags.items()},
        "plugins": [plugin.name for plugin in plugins if plugin.name == "fruits"],
        "plugin_errors": plugin_errors,
        "triggers": {task_id: _trigger(dag.get_task(task_id)) for task_id in RENDERED} if dag else {},
        "artifacts": _artifacts(),
    }
    print(json.dumps(seen))  # noqa: T201


def _restored(dag: object) -> object:
    """Serialise a DAG as the scheduler stores it, and read it again."""
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def _trigger(task: object) -> dict[str, object]:
    """Let a task defer, store its trigger, make it again from what was stored, and look at both."""
    for name, value in RENDERED[task.task_id].items():
        setattr(task, name, value)
    stored = Trigger.from_object(_deferred(task))
    again = import_string(stored.classpath)(**stored.kwargs)
    retries = again.hook().config.retries if hasattr(again, "hook") else None
    return {
        "class": stored.classpath,
        "same": again.serialize() == (stored.classpath, stored.kwargs),
        "retries": retries,
    }


def _deferred(task: object) -> object:
    """Run a task until it defers, with an AWS that has nothing yet."""
    ok = {"ResponseMetadata": {"HTTPStatusCode": 200}}
    emr = MagicMock()
    emr.conn.list_steps.return_value = {"Steps": []}
    emr.add_job_flow_steps.return_value = ["s-1"]
    emr.conn.terminate_job_flows.return_value = ok
    emr.conn.describe_cluster.return_value = ok | {"Cluster": {"Status": {"State": "STARTING"}}}
    s3 = MagicMock()
    s3.conn.get_paginator.return_value.paginate.return_value = [{}]
    s3.conn.get_object.side_effect = ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
    with (
        patch.object(type(task), "hook", emr, create=True),
        patch("fruits_airflow.hooks.aws.s3", return_value=s3),
    ):
        try:
            task.execute(_context(task))
        except TaskDeferred as deferred:
            return deferred.trigger
    raise AssertionError(f"{task.task_id} did not defer")


def _context(task: object) -> MagicMock:
    """Return the context of a run with the default parameters."""
    known = {"params": task.dag.params.dump(), "dag": task.dag, "dag_run": MagicMock(conf=None)}
    context = MagicMock()
    context.__getitem__.side_effect = lambda name: known.get(name, MagicMock())
    return context


def _artifacts() -> dict[str, object]:
    """Build what a run uploads."""
    import io
    import zipfile

    from include.artifacts import bundle

    application = bundle.build(bundle.application_folder())["application"]
    compiled = [name for name in zipfile.ZipFile(io.BytesIO(application.content)).namelist() if name.endswith(".pyc")]
    return {"application": application.name, "compiled": len(compiled)}


if __name__ == "__main__":
    main(sys.argv[1])
