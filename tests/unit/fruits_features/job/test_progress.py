"""Progress of a run: counts, estimates, datagrams and progress.json."""

import json
import logging
import time
from pathlib import Path

import pytest

from fruits_features.job import progress
from fruits_features.job.progress import ProgressListener, ProgressReporter, Tally
from tests.support.waiting import wait_for


def test_tally_estimates_from_the_first_image_on() -> None:
    tally = Tally("run", 1000)
    tally.count(0, 100, now_s=50)  # the workers took 50 s to start
    tally.count(1, 100, now_s=51)
    tally.count(0, 200, now_s=52)

    state = tally.state(now_s=54)

    assert (state.done, state.images, state.images_per_second, state.seconds_left) == (300, 1000, 50.0, 14.0)
    assert str(state) == "extract: 300 of 1000 images (30%), 50/s, 14 s left"


def test_tally_does_not_count_retried_partition_twice() -> None:
    tally = Tally("run", 1000)
    for done in (256, 512, 256):
        tally.count(3, done, now_s=0)

    assert tally.state(now_s=1).done == 512


def test_tally_counts_cached_images_as_done_but_not_in_the_speed() -> None:
    tally = Tally("run", 1000, reused=600)
    before = tally.state(now_s=49)
    tally.count(0, 100, now_s=50)
    tally.count(0, 200, now_s=52)

    state = tally.state(now_s=54)

    assert (before.done, state.done, state.images, state.images_per_second) == (600, 800, 1000, 25.0)
    assert str(state) == "extract: 800 of 1000 images (80%), 600 from the cache, 25/s, 8 s left"
    tally.finish("done")
    assert (tally.state(now_s=60).done, tally.state(now_s=60).reused) == (1000, 600)


def test_tally_before_the_first_image_has_no_estimate() -> None:
    state = Tally("run", 10).state(now_s=5)

    assert (state.done, state.images_per_second, state.seconds_left) == (0, 0.0, None)


def test_progress_receives_reports_of_workers_and_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 0.01)
    caplog.set_level(logging.INFO)
    written = tmp_path / "progress.json"

    with ProgressListener(Tally("run", 600), str(tmp_path)) as running:
        reporter = running.listen("127.0.0.1", "127.0.0.1")
        reporter.report(0, 256)
        reporter.report(1, 100)
        running.report(2, 100)
        wait_for(lambda: written.exists() and json.loads(written.read_text())["done"] == 456)
        running.begin_reduction()
        wait_for(lambda: json.loads(written.read_text())["stage"] == "reduce")

    last = json.loads(written.read_text())
    assert (last["run"], last["stage"], last["done"], last["images"]) == ("run", "done", 600, 600)
    assert "extract: 456 of 600 images (76%)" in caplog.text


def test_progress_of_few_images_is_reported_at_each_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 3600.0)
    caplog.set_level(logging.INFO)

    with ProgressListener(Tally("run", 600), str(tmp_path)) as running:
        running.begin_reduction()

    lines = [message.partition(" images")[0] for message in caplog.messages]
    assert lines == ["extract: 0 of 600", "reduce: 600 of 600", "done: 600 of 600"]


def test_progress_ignores_datagrams_of_other_senders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 3600.0)  # only the datagram itself may wake the thread

    with ProgressListener(Tally("run", 600), str(tmp_path)) as running:
        own = running.listen("127.0.0.1", "127.0.0.1")
        ProgressReporter(own.host, own.port, b"someone else's!!").report(0, 256)
        own.report(1, 1)
        wait_for(lambda: running._tally.state(time.time()).done)  # noqa: SLF001

        assert running._tally.state(time.time()).done == 1  # noqa: SLF001


def test_progress_that_cannot_be_written_is_only_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("fruits_features.io.object_store.write_bytes", refuse)

    with ProgressListener(Tally("run", 1), str(tmp_path)):
        pass

    assert "progress.json could not be written: read-only" in caplog.text


def test_report_to_unreachable_driver_does_not_raise() -> None:
    ProgressReporter("no.such.host.invalid", 9, b"0123456789abcdef").report(0, 1)
