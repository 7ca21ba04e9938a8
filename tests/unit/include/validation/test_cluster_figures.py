"""Figures of a cluster are judged like those read here, if they belong to the run's files and hold for some of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from include.run_files import Table
from include.validation import accounting, cluster_figures
from include.validation.audit import Published
from include.validation.cluster_figures import AGAIN, ALL_ROWS, LABELS, OF_FILES, READABLE
from include.validation.figures import Figures, UnreadableFiguresError, from_bytes
from include.validation.measure import Subject
from include.validation.recogniser_drop import CHECK_NAME, PAIRED, UNPAIRED, EvaluatedRecogniser
from include.validation.table_rules import TableCounts
from tests.support.bit_flips import flip_bits
from tests.support.chosen_recognisers import recogniser
from tests.support.validation_runs import Run, files_of, measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from include.validation.audit import Audit, ValidationReport


@pytest.fixture
def run(sound: Run, tmp_path: Path) -> Run:
    run = sound.copy(tmp_path)
    run.on_cluster = True
    return run


def subject(run: Run) -> Subject:
    return Subject(files_of(run), run.arguments, run.projection, run.recogniser, with_sample=False)


def judged(run: Run, figures: Figures, **about: Any) -> ValidationReport:  # noqa: ANN401
    """Return the result for given figures."""
    run.on_cluster = False
    stored = figures.to_bytes(cluster_figures.about(subject(run)) | about)
    return run.validate(change=lambda audit: replace(audit, measured=stored))


def failed(report: ValidationReport) -> list[str]:
    return [check.name for check in report.failed]


def test_result_equals_that_of_a_worker(run: Run) -> None:
    of_cluster = run.validate().as_dict()
    run.on_cluster = False
    of_worker = run.validate().as_dict()

    own = {READABLE, OF_FILES, ALL_ROWS, AGAIN, LABELS}
    checks = [check for check in of_cluster.pop("checks") if check["name"] not in own]
    expected = of_worker.pop("checks")
    assert [(check["name"], check["passed"]) for check in checks] == [
        (check["name"], check["passed"]) for check in expected
    ]
    for document in (of_cluster, of_worker):
        document["recogniser"]["splits"] = {
            name: {**figures, "log_loss": round(figures["log_loss"], 9)}
            for name, figures in document["recogniser"]["splits"].items()
        }
    assert of_cluster == of_worker


def test_worker_opens_the_drawn_files_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    part = run.parts()[0]
    for number in range(2, 30):
        part.with_name(f"part-{number:05}.parquet").write_bytes(part.read_bytes())
    stored = measured(run)
    opened: list[str] = []
    batches = Table.batches

    def record(self: Table, columns: Sequence[str] | None = None, names: Sequence[str] | None = None) -> Iterator[Any]:
        opened.extend(f"{self.uri.rpartition('/')[2]}/{name}" for name in self.sizes if names is None or name in names)
        yield from batches(self, columns, names)

    monkeypatch.setattr(Table, "batches", record)
    run.on_cluster = False
    run.validate(change=lambda audit: replace(audit, measured=stored))

    assert len(set(opened)) == cluster_figures.DRAWN_FILES
    assert {name.partition("/")[0] for name in opened} == {"features"}


def test_draw_depends_on_the_run_alone() -> None:
    names = [f"part-{number:05}.parquet" for number in range(100)]
    draws = [cluster_figures.choose(names, 3, run) for run in ("a", "a", "b")]

    assert draws[0] == draws[1] != draws[2]


def empty_table(figures: Figures) -> Figures:
    return replace(figures, tables={**figures.tables, "features": TableCounts()})


def other_digests(figures: Figures) -> Figures:
    return replace(figures, files=dict.fromkeys(figures.files, "0" * 64))


def fewer_images(figures: Figures) -> Figures:
    return replace(figures, images=Counter(dict.fromkeys(figures.images, 1)))


LIES: dict[str, tuple[Callable[[Figures], Figures], str]] = {
    "of no row": (empty_table, ALL_ROWS),
    "of other counts": (other_digests, AGAIN),
    "of fewer images": (fewer_images, AGAIN),
}


@pytest.mark.parametrize(("lie", "check"), LIES.values(), ids=LIES)
def test_figures_that_contradict_the_files_fail(run: Run, lie: Callable[[Figures], Figures], check: str) -> None:
    assert check in failed(judged(run, lie(subject(run).measure())))


def test_figures_that_hide_a_broken_row_of_a_drawn_file_fail(run: Run) -> None:
    honest = subject(run).measure()
    run.rows[3]["pca"] = [1.0, float("nan"), 2.0]
    run.rows[4]["width"] = 0
    run.write()

    report = judged(run, honest)

    (check,) = [check for check in report.failed if check.name == AGAIN]
    assert check.saw.startswith("1 of 2 differ (part-00000.parquet, part-00001.parquet); the sums lack ")
    assert "rows that break 'width is at least 1'" in check.saw
    assert "rows that are not projected" in check.saw


def test_figures_that_hide_other_labels_of_a_drawn_file_fail(run: Run) -> None:
    honest = subject(run).measure()
    training = [row for row in run.rows[12:] if row["split"] == "Training"]
    one, other = (next(row for row in training if row["category"] == name) for name in ("Apple", "Lime"))
    one["category"], other["category"] = other["category"], one["category"]
    run.write()

    report = judged(run, honest)

    assert [(check.name, check.saw) for check in report.failed] == [(LABELS, "2 rows differ")]


def test_figures_that_hide_an_unlisted_row_of_a_drawn_file_fail(run: Run) -> None:
    honest = subject(run).measure()
    run.rows[5] = {**run.rows[5], "path": "s3://fruits/images/Test/Lime/99.png"}
    run.write()

    assert (LABELS, "1 rows differ") in [(check.name, check.saw) for check in judged(run, honest).failed]


@pytest.mark.parametrize(
    ("about", "saw"),
    [
        ({"projection": "0123456789ab"}, "others: projection"),
        ({"recogniser": None}, "others: recogniser"),
        ({"files": {}}, "others: inventory/, features/, quarantine/"),
    ],
)
def test_figures_of_other_files_fail(run: Run, about: dict[str, Any], saw: str) -> None:
    report = judged(run, subject(run).measure(), **about)

    (check,) = report.failed
    assert (check.name, check.saw) == (OF_FILES, saw)


def test_file_written_after_the_measurement_fails(run: Run) -> None:
    stored = measured(run)
    run.rows.append({**run.rows[0], "path": "s3://fruits/images/Test/Lime/99.png"})
    run.write()
    run.on_cluster = False

    names = failed(run.validate(change=lambda audit: replace(audit, measured=stored)))

    assert {OF_FILES, ALL_ROWS, AGAIN} <= set(names)


def test_every_flipped_bit_of_the_figures_fails(run: Run) -> None:
    stored = measured(run)
    run.on_cluster = False

    for place, flipped in flip_bits(stored, 12, seed=4):
        report = run.validate(change=lambda audit, flipped=flipped: replace(audit, measured=flipped))
        assert failed(report) == [READABLE], place


def test_figures_of_another_version_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.validation.figures.FORMAT", 2)
    stored = Figures().to_bytes({})
    monkeypatch.undo()

    with pytest.raises(UnreadableFiguresError, match="its format is 2, and this version reads 1"):
        from_bytes(stored)


def test_figures_survive_as_bytes(run: Run) -> None:
    expected = subject(run).measure()

    figures, about = from_bytes(expected.to_bytes({"files": 1}))

    assert about == {"files": 1}
    assert figures.tables == expected.tables
    assert figures.images == expected.images
    assert figures.answers["Test"].confusions == expected.answers["Test"].confusions
    assert figures.vectors.moments is not None
    assert expected.vectors.moments is not None
    assert np.array_equal(figures.vectors.moments.scatter, expected.vectors.moments.scatter)
    assert figures.means.fit(0.1, 1.0).tolist() == expected.means.fit(0.1, 1.0).tolist()


def test_keys_are_compared_in_shares_one_task_each(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "MAX_KEYS_IN_MEMORY", 4)
    run.rows[5] = run.rows[6]
    run.write()

    shares = subject(run).shares()

    assert len(shares) == 7
    parts = [subject(run).measure_tasks([share]).errors for share in shares]
    assert sum((Counter(part) for part in parts), Counter()) == {"twice": 1, "missing": 1}


def test_run_published_since_the_measurement_is_compared_by_accuracies(run: Run) -> None:
    def published_later(audit: Audit) -> Audit:
        before = Published({}, run.projection, EvaluatedRecogniser(run.recogniser, (1, 2)))
        stored = measured(run)
        return replace(audit, published=before, measured=stored)

    run.on_cluster = False
    (check,) = (check for check in run.validate(change=published_later).checks if check.name == CHECK_NAME)

    assert UNPAIRED in check.saw


def test_published_recogniser_is_compared_on_the_same_images(run: Run) -> None:
    before = recogniser({"Apple": (1, 0, 0), "Lime": (-1, 0, 0)}, run.projection.version)

    report = run.validate(published=Published({}, run.projection, EvaluatedRecogniser(before, (1, 2))))

    (check,) = (check for check in report.checks if check.name == CHECK_NAME)
    assert PAIRED in check.saw
