"""Structure of the DAGs: ids, edges, teardown flags, owners, retries, documentation."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError

from fruits_airflow.notifications import FailureAlert
from fruits_features.pca.refit import MAX_LOSS

DAGS = Path(__file__).parents[3] / "dags"


@pytest.fixture(scope="module")
def dagbag() -> DagBag:
    return DagBag(str(DAGS))


def test_dagbag_contains_the_dags_without_import_errors(dagbag: DagBag) -> None:
    assert dagbag.import_errors == {}
    assert sorted(dagbag.dags) == [
        "fruits_example_downstream",
        "fruits_features",
        "fruits_features_spark",
        "fruits_janitor",
    ]


def test_dagbag_reports_a_broken_dag(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nimport no_such_module\n")

    assert DagBag(str(tmp_path)).import_errors


EMR_EDGES = {
    "wait_for_images": {"take_inventory"},
    "take_inventory": {"upload_application"},
    "upload_application": {"find_changes"},
    "find_changes": {"plan_cluster"},
    "plan_cluster": {"featurize_on_worker", "create_cluster"},
    "featurize_on_worker": {"create_cluster", "validate_parquet"},
    "create_cluster": {"cluster_ready", "featurize_and_reduce", "validate_on_cluster", "terminate_cluster"},
    "cluster_ready": {"featurize_and_reduce"},
    "featurize_and_reduce": {"validate_on_cluster", "validate_parquet"},
    "validate_on_cluster": {"terminate_cluster", "validate_parquet"},
    "terminate_cluster": {"validate_parquet"},
    "validate_parquet": {"publish"},
    "publish": {"announce", "remove_old_runs"},
    "announce": set(),
    "remove_old_runs": set(),
}
SPARK_EDGES = {
    "wait_for_images": {"take_inventory"},
    "take_inventory": {"upload_application"},
    "upload_application": {"find_changes", "featurize_and_reduce"},
    "find_changes": {"featurize_and_reduce"},
    "featurize_and_reduce": {"validate_parquet"},
    "validate_parquet": {"publish"},
    "publish": {"announce", "remove_old_runs"},
    "announce": set(),
    "remove_old_runs": set(),
}


@pytest.mark.parametrize(("dag_id", "edges"), [("fruits_features", EMR_EDGES), ("fruits_features_spark", SPARK_EDGES)])
def test_dag_has_the_expected_edges(dagbag: DagBag, dag_id: str, edges: dict[str, set[str]]) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dagbag.dags[dag_id].tasks} == edges


@pytest.mark.parametrize("dag_id", ["fruits_features", "fruits_features_spark"])
def test_dag_runs_daily_without_concurrency_and_catchup(dagbag: DagBag, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]

    assert (dag.schedule, dag.catchup, dag.max_active_runs) == ("@daily", False, 1)
    assert dag.doc_md
    assert dag.description
    dag.check_cycle()


def test_janitor_runs_hourly_and_is_active_when_first_loaded(dagbag: DagBag) -> None:
    dag = dagbag.dags["fruits_janitor"]

    assert (dag.schedule, dag.catchup, dag.max_active_runs) == ("@hourly", False, 1)
    assert dag.is_paused_upon_creation is False


@pytest.mark.parametrize("dag_id", ["fruits_features", "fruits_features_spark", "fruits_janitor"])
def test_every_task_has_a_failure_alert(dagbag: DagBag, dag_id: str) -> None:
    for task in dagbag.dags[dag_id].tasks:
        assert [type(callback) for callback in task.on_failure_callback] == [FailureAlert], task.task_id


@pytest.mark.parametrize("dag_id", ["fruits_features", "fruits_features_spark", "fruits_janitor"])
def test_every_task_has_an_owner_retries_and_documentation(dagbag: DagBag, dag_id: str) -> None:
    for task in dagbag.dags[dag_id].tasks:
        assert task.owner == "fruits", task.task_id
        assert task.doc_md, task.task_id
        assert task.retries > 0 or (dag_id, task.task_id) == ("fruits_features_spark", "featurize_and_reduce")


def test_every_attempt_of_a_task_has_a_time_limit(dagbag: DagBag) -> None:
    limits = {
        (dag_id, task.task_id): task.execution_timeout for dag_id, dag in dagbag.dags.items() for task in dag.tasks
    }

    assert [task for task, limit in limits.items() if limit is None] == []
    assert max(limits.values()) <= timedelta(hours=6)
    for task_id in ("create_cluster", "terminate_cluster"):  # the cluster costs money meanwhile
        assert limits["fruits_features", task_id] <= timedelta(minutes=15)


def test_downstream_dag_is_scheduled_on_the_published_features(dagbag: DagBag) -> None:
    example = dagbag.dags["fruits_example_downstream"]

    assert [asset.name for asset in example.timetable.asset_condition.objects] == ["fruits_features"]
    assert example.doc_md
    for dag_id in ("fruits_features", "fruits_features_spark"):
        outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dagbag.dags[dag_id].tasks}
        assert {task: names for task, names in outlets.items() if names} == {"announce": ["fruits_features"]}


def test_cluster_has_a_teardown_whose_failure_fails_the_run(dagbag: DagBag) -> None:
    dag = dagbag.dags["fruits_features"]
    create, terminate = dag.get_task("create_cluster"), dag.get_task("terminate_cluster")

    assert create.is_setup
    assert terminate.is_teardown
    assert terminate.on_failure_fail_dagrun
    assert create.wait_for_completion is False  # a setup that waits and fails has no teardown


def test_validation_waits_for_the_step_and_the_teardown(dagbag: DagBag) -> None:
    validate = dagbag.dags["fruits_features"].get_task("validate_parquet")

    before = {"featurize_on_worker", "featurize_and_reduce", "validate_on_cluster", "terminate_cluster"}
    assert validate.upstream_task_ids == before
    assert validate.trigger_rule == "none_failed_min_one_success"


def test_emr_tasks_are_deferrable(dagbag: DagBag) -> None:
    dag = dagbag.dags["fruits_features"]

    for task_id in ("wait_for_images", "cluster_ready", "featurize_and_reduce", "terminate_cluster"):
        assert dag.get_task(task_id).deferrable, task_id


@pytest.mark.parametrize("dag_id", ["fruits_features", "fruits_features_spark"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bucket", "No Bucket"),
        ("image_prefix", "without-slash"),
        ("features", []),
        ("features", ["sift"]),
        ("features", ["orb", "orb"]),
        ("onnx_model", "net.onnx"),
        ("onnx_model", "s3://models/"),
        ("explained_variance", 0),
        ("explained_variance", 1.1),
        ("k", 0),
        ("max_quarantine_share", 2),
        ("recogniser_drop", "not checked"),
        ("wait_minutes", -1),
        ("quiet_minutes", -1),
        ("marker", "/_SUCCESS"),
        ("marker", "done/"),
        ("force", "yes"),
    ],
)
def test_invalid_parameter_is_rejected(dagbag: DagBag, dag_id: str, name: str, value: object) -> None:
    param = dagbag.dags[dag_id].params.get_param(name)

    with pytest.raises(ParamValidationError):
        param.resolve(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("cluster_size", "huge"), ("target_minutes", 0), ("max_cost", -1), ("max_cost", "cheap")],
)
def test_invalid_cluster_parameter_is_rejected(dagbag: DagBag, name: str, value: object) -> None:
    param = dagbag.dags["fruits_features"].params.get_param(name)

    with pytest.raises(ParamValidationError):
        param.resolve(value)


SECTIONS = {
    "What to read": ["bucket", "image_prefix", "dataset", "replace_dataset", "wait_minutes", "quiet_minutes", "marker"],
    "Features": ["features", "onnx_model", "include_pixels"],
    "Projection": ["refit", "explained_variance", "k"],
    "Cluster": ["cluster_size", "target_minutes", "max_cost"],
    "Advanced": ["max_quarantine_share", "recogniser_drop", "force"],
}


@pytest.mark.parametrize("dag_id", ["fruits_features", "fruits_features_spark"])
def test_form_has_sections_in_order_of_use(dagbag: DagBag, dag_id: str) -> None:
    params = dagbag.dags[dag_id].params
    found: dict[str, list[str]] = {}
    for name in params:
        found.setdefault(params.get_param(name).schema["section"], []).append(name)

    expected = SECTIONS if dag_id == "fruits_features" else {k: v for k, v in SECTIONS.items() if k != "Cluster"}
    assert list(found.items()) == list(expected.items())


def test_each_description_has_its_limits_and_an_example_in_markdown(dagbag: DagBag) -> None:
    params = dagbag.dags["fruits_features"].params
    for name in params:
        param = params.get_param(name)
        text, limits = param.schema["description_md"], param.schema
        assert param.description is None, "the UI shows it in place of the Markdown"
        numbers = set(re.findall(r"\b\d+\b", text))
        bounds = [limits.get(bound) for bound in ("minimum", "exclusiveMinimum", "maximum")]
        assert {str(bound) for bound in bounds if bound is not None} <= numbers, name
        if "enum" not in limits and limits["type"] != "boolean":
            assert "Example: `" in text, name
        assert "^" not in text, "rules are in words"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "bucket",
            "Not A Bucket",
            "'Not A Bucket' does not match '(?#3 to 63 lowercase letters, digits, dots and hyphe",
        ),
        (
            "image_prefix",
            "images",
            "'images' does not match '(?#ends in a slash, without a slash at its beginning and w",
        ),
        ("marker", "/done", "'/done' does not match '(?#a key without a slash at its beginning and end)"),
        (
            "onnx_model",
            "net.onnx",
            "'net.onnx' does not match '(?#s3://bucket/key, or an absolute path on the cluster)",
        ),
    ],
)
def test_refused_value_is_explained_in_words(dagbag: DagBag, name: str, value: str, message: str) -> None:
    with pytest.raises(ParamValidationError) as refused:
        dagbag.dags["fruits_features"].params.get_param(name).resolve(value)

    assert str(refused.value).startswith(message)


def test_form_says_when_an_explained_variance_is_not_followed(dagbag: DagBag) -> None:
    text = dagbag.dags["fruits_features"].params.get_param("refit").schema["description_md"]

    assert f"a change of the explained variance by {MAX_LOSS:g} or less has no effect" in text
    assert f"(to {MAX_LOSS:g} of the variance)" in text


def test_dag_without_a_cluster_has_no_cluster_parameters(dagbag: DagBag) -> None:
    with_cluster, without_cluster = (
        set(dagbag.dags[dag_id].params) for dag_id in ("fruits_features", "fruits_features_spark")
    )

    assert with_cluster - without_cluster == {"cluster_size", "target_minutes", "max_cost"}
    assert without_cluster <= with_cluster
