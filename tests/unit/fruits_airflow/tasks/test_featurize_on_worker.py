"""The application runs on the worker if the plan says so and the worker can; else a cluster is created."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from fruits_airflow.emr import cost
from fruits_airflow.tasks import featurize_on_worker
from fruits_airflow.tasks.featurize_on_worker import FeaturizeOnWorkerOperator, missing_packages, skip_without_need
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.errors import TooManyNewImagesError
from include import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fruits_airflow.hooks.processes import Limits

REASON = "384 of 20,000 images are new: no cluster."
ESTIMATE = {"minutes": 10.0, "dollars": 0.1, "most_dollars": 0.12, "prices": "eu-west-1"}


class FakeChild:
    """An application that prints a line and ends with a given code."""

    code = 0
    stop: str | None = None
    started: FakeChild | None = None

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command, self.environment, self.stopped, self.ended = command, environment, self.stop, False
        type(self).started = self

    def follow(self, log: Callable[[str], object], limits: Limits) -> int:
        self.limits = limits
        log("fruits_features: error: too few images.")
        log("")
        return self.code

    def end(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeChild]]:
    """The class of the child process that the task starts."""
    arguments = Arguments(bucket="b", inventory="s3://b/i", output="s3://b/o", run="r")
    monkeypatch.setattr(featurize_on_worker.run_context, "arguments_of", lambda _: arguments)
    monkeypatch.setattr(featurize_on_worker.run_context, "s3_of", lambda _: None)
    monkeypatch.setattr(featurize_on_worker, "environment", lambda _: {"AWS_REGION": "eu-west-1"})
    monkeypatch.setattr(featurize_on_worker.RunFolderLink, "to", lambda *_: None)
    monkeypatch.setattr(featurize_on_worker, "free_memory_mb", lambda: 4096.0)
    fake = type("Fake", (FakeChild,), {})
    monkeypatch.setattr(featurize_on_worker, "Child", fake)
    settings.settings.cache_clear()
    yield fake
    settings.settings.cache_clear()


def _context(
    reason: str | None = REASON,
    max_cost: float | None = 20,
    ran: str | None = None,
    features: Sequence[str] = ("orb", "color"),
) -> Any:  # noqa: ANN401
    plan = {"without_cluster": reason, "estimate": ESTIMATE, "nodes": {}}
    xcoms = {"plan_cluster": plan, "take_inventory": {"uri": "s3://b/o"}, "featurize_on_worker": ran}
    return {
        "params": {"features": list(features), "max_cost": max_cost},
        "ti": SimpleNamespace(xcom_pull=lambda task_ids, key=None: xcoms[task_ids]),  # noqa: ARG005 - one key per task
    }


def _run(context: Any) -> str:  # noqa: ANN401
    return FeaturizeOnWorkerOperator(task_id="featurize_on_worker").execute(context)


def test_application_runs_with_its_arguments_and_limits(
    child: type[FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_NO_CLUSTER_MEMORY_MB", "700")

    assert _run(_context()) == REASON

    assert child.started
    assert child.started.command[1:4] == ["-m", "fruits_features.without_spark", "--new-below=1000"]
    assert (child.started.limits.memory_mb, child.started.limits.seconds) == (700, 600)
    assert child.started.environment["AWS_REGION"] == "eu-west-1"
    assert child.started.environment["TOKIO_WORKER_THREADS"] == "1"


def test_planned_cluster_skips_the_task(child: type[FakeChild]) -> None:
    with pytest.raises(AirflowSkipException, match="The plan has a cluster"):
        _run(_context(reason=None))
    assert child.started is None


def test_worker_without_a_package_uses_a_cluster(child: type[FakeChild], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurize_on_worker, "find_spec", lambda name: None if name in {"cv2", "pyspark"} else name)

    with pytest.raises(AirflowSkipException, match="A cluster is created, because this worker lacks cv2, pyspark"):
        _run(_context())
    assert child.started is None


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_worker_without_a_package_of_the_network_uses_a_cluster(
    package: str, child: type[FakeChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(featurize_on_worker, "find_spec", lambda name: None if name == package else name)

    with pytest.raises(AirflowSkipException, match=f"A cluster is created, because this worker lacks {package}\\."):
        _run(_context(features=["orb", "onnx"]))
    assert child.started is None
    assert _run(_context()) == REASON


def test_packages_are_those_of_the_application() -> None:
    assert missing_packages(["orb", "onnx"]) == []


def test_worker_without_memory_uses_a_cluster(child: type[FakeChild], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurize_on_worker, "free_memory_mb", lambda: 900.4)

    why = r"A cluster is created, because this worker has 900 MB of free memory, and the run may take 2,048 MB\."
    with pytest.raises(AirflowSkipException, match=f"{why} FRUITS_NO_CLUSTER_MEMORY_MB limits its memory"):
        _run(_context())
    assert child.started is None


@pytest.mark.parametrize(
    ("code", "stop", "why"),
    [
        (-9, "it took longer than 600 s", r"the application was ended, because it took longer than 600 s\."),
        (-9, None, r"signal 9 ended the application, as when a machine's memory runs out\."),
    ],
)
def test_application_above_its_limits_uses_a_cluster(
    child: type[FakeChild], code: int, stop: str | None, why: str
) -> None:
    child.code, child.stop = code, stop

    with pytest.raises(AirflowSkipException, match=f"{why} .* FRUITS_NO_CLUSTER_BELOW=0 always creates a cluster"):
        _run(_context())


def test_more_new_images_than_were_counted_use_a_cluster(child: type[FakeChild]) -> None:
    child.code = TooManyNewImagesError.exit_code

    with pytest.raises(AirflowSkipException, match=r"more images are new than were counted.* Clear `find_changes`"):
        _run(_context())


def test_cluster_above_the_maximum_cost_fails_with_both_reasons(child: type[FakeChild]) -> None:
    child.code, child.stop = -9, "it took longer than 600 s"

    with pytest.raises(AirflowFailException, match=r"A cluster is needed, .* 600 s\. .* `max_cost` allows \$0\.01"):
        _run(_context(max_cost=0.01))


def test_error_of_the_application_fails_with_its_last_line(child: type[FakeChild]) -> None:
    child.code = 1

    with pytest.raises(AirflowFailException, match="exit code 1: fruits_features: error: too few images"):
        _run(_context())


def test_killed_task_ends_the_application(child: type[FakeChild]) -> None:
    operator = FeaturizeOnWorkerOperator(task_id="featurize_on_worker")
    child.code = -9

    def interrupt(fake: FakeChild, *_: object) -> int:
        operator.on_kill()
        assert fake.ended
        return fake.code

    child.follow = interrupt  # type: ignore[method-assign, assignment]
    with pytest.raises(InterruptedError, match="The task was interrupted"):  # Airflow retries
        operator.execute(_context())


def test_no_cluster_is_created_after_the_worker_has_run_the_application() -> None:
    with pytest.raises(AirflowSkipException, match="384 of 20,000 images are new"):
        skip_without_need(_context(ran=REASON))
    skip_without_need(_context(ran=None))


def test_run_on_the_worker_costs_nothing() -> None:
    figures = cost.run_cost(_context(ran=REASON))

    assert figures
    assert (figures["estimate"]["dollars"], figures["actual"]["dollars"]) == (0, 0)
    assert cost.reported_cost(figures, {"featurize_on_worker": 5.0, "publish": 3.0}) == {
        "dollars": {"featurize_on_worker": 0},
        "expected_dollars": 0,
        "charged": True,
    }
