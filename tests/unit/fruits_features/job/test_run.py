"""Ends of a run: no image is lost, and nothing of an earlier or a failed attempt remains."""

from dataclasses import replace
from pathlib import Path

import pytest

from fruits_features.job.run import JobError
from fruits_features.output.features_writer import FeaturesFile, FeaturesWriter, WrittenFeatures
from tests.support.small_runs import Images, Runs, photograph, run_in_process


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of twelve photographs."""
    images = Images()
    run_in_process(monkeypatch, images)
    for number in range(12):
        images.put(f"images/Training/{('Apple', 'Lime')[number % 2]}/{number}.png", photograph(number))
    return Runs(tmp_path, images)


def files(folder: str) -> list[str]:
    """Return the names of all files below a folder."""
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


def test_run_that_lost_an_image_fails(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = FeaturesWriter.write

    def lose_one(writer: FeaturesWriter, file: FeaturesFile) -> WrittenFeatures:
        written = write(writer, file)
        return replace(written, files=tuple(replace(one, rows=one.rows - 1) for one in written.files))

    monkeypatch.setattr(FeaturesWriter, "write", lose_one)

    with pytest.raises(JobError, match=r"^12 objects were inventoried, but 11 rows were written; "):
        runs.run("monday")


def test_files_of_an_earlier_attempt_are_removed(runs: Runs) -> None:
    layout = runs.layout("monday")
    for folder in (layout.features, layout.quarantine, layout.recogniser, layout.validation):
        (Path(folder) / "deep").mkdir(parents=True)
        (Path(folder) / "deep" / "earlier").touch()

    runs.run("monday")

    assert "earlier" not in files(layout.prefix)
    assert files(layout.features) == ["part-00000.parquet"]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_run_of_quarantined_images_only_fails_with_their_reasons_and_leaves_no_tables(runs: Runs, share: float) -> None:
    for key in list(runs.images.objects):
        runs.images.put(key, b"no image of " + key.encode())

    with pytest.raises(JobError, match=r"^All 12 images were quarantined \(not_an_image: 12\)"):
        runs.run("monday", store=None, max_quarantine_share=share)

    assert files(runs.layout("monday").staging) == []
    assert files(runs.layout("monday").quarantine) == ["part-00000.parquet"]
