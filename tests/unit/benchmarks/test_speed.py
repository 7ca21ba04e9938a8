"""The benchmark's arithmetic, meter and images."""

import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.images import DuplicateImagesError, draw, draw_photographs, take_inventory
from benchmarks.speed.meter import Use, metered
from benchmarks.speed.ratios import ratios
from benchmarks.speed.report import Run, table
from benchmarks.speed.sessions import CANDIDATES
from fruits_features.imaging.headers import read_header
from tests.support.waiting import wait_for

BUSY = """
import sys, time
sys.stdin.readline()
until_s = time.process_time() + 0.3
while time.process_time() < until_s:
    pass
print(flush=True)
sys.stdin.read()
"""


def run(candidate: str, repeat: int, wall_s: float, cpu_s: float) -> Run:
    return Run(candidate, "direct", "first", repeat, 100, Use(wall_s, cpu_s, 10, 20 + repeat, 40, 0.5, 0.25))


@pytest.mark.parametrize("name", [one.name for one in CANDIDATES if not one.separate] + ["onnxruntime_processes"])
def test_candidate_fits_to_the_application(name: str) -> None:
    assert callable(import_module(f"benchmarks.speed.candidates.{name}").session)


def test_table_compares_within_each_repeat_and_shows_medians() -> None:
    noisy = [run("(b)", 0, 2, 4), run("(a)", 0, 1, 1), run("(a)", 1, 10, 5), run("(b)", 1, 10, 10)]
    calm = [run("(a)", 2, 1, 1), run("(b)", 2, 1.25, 2)]

    _, _, limit, app = table([*noisy, *calm])

    assert limit == "| (a) | direct | first | 100 | 100 | 1.00 | 10.00 | 1.00 | 10 | 22 | 40 | 50% | 25% |"
    assert app == "| (b) | direct | first | 100 | 50 | 0.80 | 40.00 | 2.00 | 10 | 22 | 40 | 50% | 25% |"


def test_ratios_compare_until_extracted_and_the_complete_run() -> None:
    own = replace(run("(b) app", 0, 16, 1), extracted_s=12.5)
    limit = [run("(a) plain", 0, 10, 1), own]
    other = [replace(one, turn=1) for one in (own, run("(c) UDFs", 0, 100, 1))]

    _, _, beside_limit, beside_other = ratios([*limit, *other])

    assert beside_limit == "| (a) plain | first | 1 | 10 | 8 | 6 | 0.80 | 0.62 | 0.8 |"
    assert beside_other == "| (c) UDFs | first | 1 | 1 | 8 | 6 | 8.00 | 6.25 |  |"


def test_ratios_compare_jobs_of_the_same_turn_only() -> None:
    turns = [[run("(b) app", 0, own_s, 1), run("(f) Daft", 0, their_s, 1)] for own_s, their_s in ((10, 20), (100, 100))]

    _, _, row = ratios([replace(one, turn=turn, job="later") for turn in (1, 0) for one in turns[turn]])

    assert row == "| (f) Daft | later | 2 | 3 | 6 | 6 | 1.50 (1.00 to 2.00) | 1.50 (1.00 to 2.00) | 1.4 |"


def test_ratios_compare_the_application_behind_a_delayed_server_with_itself_behind_a_direct_one() -> None:
    prompt, late = (
        replace(run("(b) app", 0, wall_s, 1), way=f"proxy +{added_ms} ms", job="later")
        for wall_s, added_ms in ((10, 0), (12.5, 30))
    )

    _, _, *rows = ratios([prompt, late])

    assert rows == ["| (b) app, proxy +30 ms beside +0 ms | later | 1 | 10 | 8 | 8 | 0.80 | 0.80 | 0.9 |"]


def test_meter_includes_children() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        with metered(psutil.Process()) as use:
            assert busy.stdin
            assert busy.stdout
            busy.stdin.write(b"\n")
            busy.stdin.flush()
            busy.stdout.readline()
            wait_for(lambda: use.worker_mb)  # measured in a thread
        busy.kill()

    assert use.cpu_s >= 0.2
    assert 0 < use.worker_mb <= use.all_mb
    assert use.driver_mb > 0


def test_inventory_lists_the_drawn_images(tmp_path: Path) -> None:
    draw(tmp_path / "bucket", 5, jobs=1)

    assert take_inventory(tmp_path / "bucket", tmp_path / "inventory") == 5

    rows = pq.read_table(tmp_path / "inventory").to_pylist()
    assert {row["split"] for row in rows} <= {"Training", "Test"}
    assert all((tmp_path / "bucket" / row["key"]).stat().st_size == row["size"] for row in rows)


def test_inventory_lists_distinct_photographs(tmp_path: Path) -> None:
    draw_photographs(tmp_path / "bucket", 3, jobs=2)

    assert take_inventory(tmp_path / "bucket", tmp_path / "inventory") == 3

    data = [path.read_bytes() for path in (tmp_path / "bucket").rglob("*.jpg")]
    headers = [read_header(one) for one in data]
    assert {(header.width, header.height) for header in headers if header} == {(4032, 3024)}
    assert len({row["category"] for row in pq.read_table(tmp_path / "inventory").to_pylist()}) == 3


@pytest.mark.parametrize("again", [shutil.copy, lambda one, other: other.hardlink_to(one)], ids=["copy", "link"])
def test_inventory_of_images_that_are_not_distinct_is_rejected(again, tmp_path: Path) -> None:  # noqa: ANN001
    draw(tmp_path / "bucket", 2, jobs=1)
    one = next((tmp_path / "bucket").rglob("*.jpg"))
    again(one, one.with_name("again.jpg"))

    with pytest.raises(DuplicateImagesError, match=r"Of 3 images .* 2 are distinct"):
        take_inventory(tmp_path / "bucket", tmp_path / "inventory")
