"""The pointer moves to later inventories only, keeps its history, and yields to concurrent publishers."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from moto import mock_aws

from fruits_airflow.s3 import pointer
from fruits_features.contract import sealed
from fruits_features.contract.layout import DatasetLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

DATASET = DatasetLayout("fruits")


class Orchard:
    """A bucket of an S3 with conditional requests, and runs to publish there."""

    def __init__(self) -> None:
        self.s3 = S3Hook(aws_conn_id=None, region_name="us-east-1")
        self.s3.conn.create_bucket(Bucket="fruits")

    def publish(self, run: str, hour: int, taken: int | None = None, **changes: Any) -> str:  # noqa: ANN401
        """Publish a run at an hour. Its inventory was taken at another hour."""
        dataset, may_replace = changes.pop("dataset", DATASET), changes.pop("may_replace", False)
        record = {"run": run, "again": changes.pop("again", False)}
        latest = self.pointer(run, hour, hour - 1 if taken is None else taken, **changes)
        return pointer.publish(self.s3, dataset, record, latest, may_replace=may_replace)

    def pointer(self, run: str, hour: int, taken: int, prefix: str = "images/") -> dict[str, Any]:
        document = {
            "run": run,
            "published_at": f"2026-11-22T{hour:02}:00:00+00:00",
            "inventory": {"prefix": prefix, "taken_at": f"2026-11-22T{taken:02}:00:00.000000+00:00"},
            "paths": {"run": DATASET.run(run).record},
        }
        return sealed.seal(document)

    def written(self) -> list[str]:
        return self.s3.list_keys("fruits", "features/")

    def read(self, key: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.s3.read_key(key, "fruits"))
        return document

    @property
    def latest(self) -> dict[str, Any]:
        return self.read("features/latest.json")


@pytest.fixture
def orchard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchard]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield Orchard()


def test_earlier_pointer_is_kept_as_it_was(orchard: Orchard) -> None:
    orchard.publish("a", 8)
    first = orchard.latest
    orchard.publish("b", 9)

    assert orchard.latest["run"] == "b"
    assert orchard.read("features/published/2026-11-22T080000Z-a.json") == first
    assert orchard.read("features/published/2026-11-22T090000Z-b.json") == orchard.latest
    assert len(orchard.written()) == 5  # and the runs' two records


@pytest.mark.parametrize("is_moved", [False, True])
def test_copied_earlier_pointer_publishes_its_run_until_the_next_publication(
    orchard: Orchard, *, is_moved: bool
) -> None:
    """docs/guides/reruns.md describes this way to an earlier run, and back. It used to move the pointer."""
    orchard.publish("a", 8)
    orchard.publish("left", 9)
    left = orchard.latest
    orchard.s3.copy_object("features/published/2026-11-22T080000Z-a.json", "features/latest.json", "fruits", "fruits")
    if is_moved:
        orchard.s3.delete_objects("fruits", "features/published/2026-11-22T080000Z-a.json")
    copied = orchard.latest
    orchard.publish("b", 10)

    assert copied == orchard.pointer("a", 8, 7)
    assert orchard.latest["run"] == "b"
    assert orchard.read("features/published/2026-11-22T090000Z-left.json") == left
    assert [key.rpartition("Z-")[2] for key in orchard.s3.list_keys("fruits", "features/published/")] == [
        "a.json",
        "left.json",
        "b.json",
    ]


def test_pointer_of_an_older_version_is_kept_when_it_is_replaced(orchard: Orchard) -> None:
    orchard.publish("a", 8)
    before = orchard.latest
    orchard.s3.delete_objects("fruits", "features/published/2026-11-22T080000Z-a.json")
    orchard.publish("b", 9)

    assert orchard.read("features/published/2026-11-22T080000Z-a.json") == before


def test_repeated_publication_changes_nothing(orchard: Orchard) -> None:
    orchard.publish("a", 8)
    before = orchard.written(), orchard.latest

    orchard.publish("a", 9, taken=7)

    assert (orchard.written(), orchard.latest) == before


def test_run_with_an_earlier_inventory_is_not_published(orchard: Orchard) -> None:
    orchard.publish("b", 9, taken=8)

    with pytest.raises(
        AirflowSkipException,
        match=r"Run a is not published: its inventory of .*T07.* is older than that of run b .*T08",
    ):
        orchard.publish("a", 10, taken=7)

    assert orchard.latest["run"] == "b"
    assert "features/runs/a/run.json" not in orchard.written()


def test_pointer_without_a_time_is_replaced(orchard: Orchard) -> None:
    orchard.s3.load_string(
        '{"run": "old", "published_at": "2026-11-21T08:00:00+00:00", "paths": {"run": "s3://fruits/run.json"}}',
        "features/latest.json",
        "fruits",
    )

    orchard.publish("a", 8)

    assert orchard.latest["run"] == "a"


@pytest.mark.parametrize(("taken", "stays"), [(6, "a"), (8, "b")])
@pytest.mark.parametrize("published", [False, True])
def test_of_two_concurrent_runs_the_one_with_the_later_inventory_stays(
    orchard: Orchard,
    monkeypatch: pytest.MonkeyPatch,
    taken: int,
    stays: str,
    *,
    published: bool,
) -> None:
    """Run b is published after run a has read the pointer and before it replaces it."""
    if published:
        orchard.publish("before", 5)
    read = pointer._read_pointer  # noqa: SLF001 - between reading and replacing

    def read_before_publication(client: Any, uri: str) -> Any:  # noqa: ANN401
        before = read(client, uri)
        monkeypatch.setattr(pointer, "_read_pointer", read)
        orchard.publish("b", 9, taken=taken)
        return before

    monkeypatch.setattr(pointer, "_read_pointer", read_before_publication)
    if stays == "b":
        with pytest.raises(AirflowSkipException, match="stays published"):
            orchard.publish("a", 10, taken=7)
    else:
        orchard.publish("a", 10, taken=7)
        assert "features/published/2026-11-22T090000Z-b.json" in orchard.written()

    assert orchard.latest["run"] == stays
    assert ("features/published/2026-11-22T050000Z-before.json" in orchard.written()) == published


@pytest.mark.parametrize("was_published", [True, False])
def test_run_that_is_replaced_while_it_is_published_again_keeps_its_record(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch, *, was_published: bool
) -> None:
    """Task `publish` of the published run a is cleared while run b, with a later inventory, is published.

    If run a was not published before, its record was left by an interrupted try.
    """
    if was_published:
        orchard.publish("a", 8)
    else:
        orchard.s3.load_string('{"run": "a"}', "features/runs/a/run.json", "fruits")
    record = orchard.s3.read_key("features/runs/a/run.json", "fruits")
    replace = pointer._replace

    def replace_after_publication(*arguments: Any, **options: Any) -> bool:  # noqa: ANN401
        monkeypatch.setattr(pointer, "_replace", replace)
        orchard.publish("b", 9)
        return replace(*arguments, **options)

    monkeypatch.setattr(pointer, "_replace", replace_after_publication)
    with pytest.raises(AirflowSkipException, match=r"run b .* stays published"):
        orchard.publish("a", 10, taken=7, again=True)

    assert orchard.latest["run"] == "b"
    assert ("features/runs/a/run.json" in orchard.written()) == was_published
    if was_published:
        assert orchard.s3.read_key("features/runs/a/run.json", "fruits") == record


def test_two_data_sets_have_pointers_histories_and_runs_of_their_own(orchard: Orchard) -> None:
    citrus = DatasetLayout("fruits", "citrus")
    for hour, run in ((8, "a"), (9, "b")):
        orchard.publish(run, hour)
        assert orchard.publish(run, hour - 1, dataset=citrus, prefix="citrus/") == citrus.latest

    assert orchard.latest["inventory"]["prefix"] == "images/"
    assert orchard.read("features/datasets/citrus/latest.json")["inventory"]["prefix"] == "citrus/"
    assert sorted(orchard.written()) == sorted(
        f"{folder}/{name}"
        for folder, hour, later in (("features", 8, 9), ("features/datasets/citrus", 7, 8))
        for name in (
            "latest.json",
            f"published/2026-11-22T0{hour}0000Z-a.json",
            f"published/2026-11-22T0{later}0000Z-b.json",
            "runs/a/run.json",
            "runs/b/run.json",
        )
    )


def test_run_on_another_prefix_does_not_replace_a_data_set_unless_told(orchard: Orchard) -> None:
    """The first task has refused it, unless the other run was published since."""
    orchard.publish("a", 8)

    with pytest.raises(AirflowFailException, match=r"prefix is 'citrus/', but the published run a .* read 'images/'"):
        orchard.publish("b", 9, prefix="citrus/")
    assert orchard.latest["run"] == "a"
    assert "features/runs/b/run.json" not in orchard.written()

    orchard.publish("b", 9, prefix="citrus/", may_replace=True)
    assert orchard.latest["run"] == "b"


def test_damaged_pointer_is_not_replaced(orchard: Orchard) -> None:
    orchard.s3.load_string('{"run": "old"', "features/latest.json", "fruits")

    with pytest.raises(AirflowFailException, match=r"s3://fruits/features/latest\.json is damaged .*: restore "):
        orchard.publish("a", 8)

    assert orchard.written() == ["features/latest.json"]


def test_publisher_that_always_conflicts_fails(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer, "_read_pointer", lambda *_: (b"", {"IfMatch": '"another"'}))

    with pytest.raises(
        AirflowException,
        match=r"Run a was not published: other runs replaced s3://fruits/features/latest\.json in each of 5 attempts",
    ):
        orchard.publish("a", 8)


@pytest.mark.parametrize("at", [1, 2, 3, 4], ids=["record", "earlier pointer", "pointer", "copy"])
def test_interrupted_publication_is_completed_by_the_next_try(orchard: Orchard, at: int) -> None:
    orchard.publish("a", 8)
    before = orchard.latest
    writes = count(1)

    def fail(**_: object) -> None:
        if next(writes) == at:
            raise ConnectionError(at)

    orchard.s3.conn.meta.events.register_first("before-call.s3.PutObject", fail)
    with pytest.raises(ConnectionError):
        orchard.publish("b", 9)
    left = orchard.latest
    orchard.publish("b", 9)

    assert left == (orchard.latest if at == 4 else before)
    assert orchard.latest == orchard.pointer("b", 9, 8) == orchard.read("features/published/2026-11-22T090000Z-b.json")
    assert orchard.read("features/published/2026-11-22T080000Z-a.json") == before
    assert len(orchard.written()) == 5
