"""Sample images: plan, drawing, determinism and errors of the command."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from include.dev.sample_images import PROTOTYPE_CATEGORIES, PlanError, fruits_360, generate, make_plan, writing
from include.dev.sample_images.__main__ import main
from include.dev.sample_images.drawing import draw

ROOT = Path(__file__).resolve().parents[5]


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def prototype(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prototype") / "images"
    assert main([str(folder), "--jobs", "1"]) == 0
    return folder


def test_catalogue_of_fruits_360_has_its_published_totals() -> None:
    counts = fruits_360()
    assert len(counts) == 131
    assert sum(count["Training"] for count in counts.values()) == 67_692
    assert sum(count["Test"] for count in counts.values()) == 22_688


def test_full_plan_names_every_image_once() -> None:
    plan = make_plan(list(fruits_360()))
    assert len({image.path for image in plan}) == len(plan) == 90_380
    assert len({(image.category, image.frame) for image in plan}) == 90_380


def test_small_plan_is_a_subset_of_the_full_plan() -> None:
    small = make_plan(["Banana", "Fig"], 101)
    assert len(small) == 101
    assert set(small) < set(make_plan(["Banana", "Fig"]))


def test_small_plan_spreads_over_the_complete_turn() -> None:
    frames = [image.frame for image in make_plan(["Fig"], 24) if image.split == "Training"]
    assert max(np.diff(sorted(frames))) < 60
    assert max(frames) > 850


def test_unknown_category_names_the_nearest() -> None:
    with pytest.raises(PlanError, match=r"'Bananna'.* did you mean Banana or Banana Red"):
        make_plan(["Bananna"])


@pytest.mark.parametrize("images", [0, -1, 657])
def test_image_count_out_of_range_is_rejected(images: int) -> None:
    with pytest.raises(PlanError, match=r"have 1 to 656"):
        make_plan(["Banana"], images)


def test_default_images_are_the_prototypes_644(prototype: Path) -> None:
    splits = Counter(path.split("/")[0] for path in contents(prototype))
    assert splits == {"Training": 482, "Test": 162}
    for split in splits:
        assert sorted(path.name for path in (prototype / split).iterdir()) == sorted(PROTOTYPE_CATEGORIES)


def test_images_decode_to_100_by_100_on_white(prototype: Path) -> None:
    for path in prototype.rglob("*.jpg"):
        pixels = cv2.imread(str(path))
        assert pixels is not None
        assert pixels.shape == (100, 100, 3)
        assert pixels[[0, 0, -1, -1], [0, -1, 0, -1]].min(axis=1).max() > 240, path  # at least one corner is bare
        assert (pixels.min(axis=2) < 200).mean() > 0.15, path


def test_images_all_differ(prototype: Path) -> None:
    assert len(set(contents(prototype).values())) == 644


def test_file_sizes_of_every_category_are_those_of_fruits_360() -> None:
    sizes = [len(draw(image.category, image.frame, 0)) for image in make_plan(list(fruits_360()), 393)]
    assert min(sizes) > 3 * 1024
    assert np.percentile(sizes, 99.5) < 7 * 1024
    assert max(sizes) < 7.5 * 1024
    assert 4_700 < np.mean(sizes) < 5_600


def test_about_a_tenth_has_no_keypoint_at_orbs_defaults(prototype: Path) -> None:
    orb = cv2.ORB_create()
    grays = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in prototype.rglob("*.jpg")]
    share = np.mean([len(orb.detect(gray)) == 0 for gray in grays if gray is not None])
    assert 0.04 < share < 0.20


def test_kinds_differ_in_color() -> None:
    def mean_color(category: str) -> np.ndarray:
        pixels = cv2.imdecode(np.frombuffer(draw(category, 10, 0), np.uint8), cv2.IMREAD_COLOR)
        return pixels[pixels.min(axis=2) < 200].mean(axis=0)

    blue, green, red = mean_color("Banana")
    assert min(red, green) > blue + 60
    blue, green, red = mean_color("Tomato 1")
    assert red > max(green, blue) + 60
    blue, green, red = mean_color("Limes")
    assert green > max(red, blue)


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    plan = make_plan(["Fig", "Kiwi", "Walnut"], 1100)
    for jobs in (1, 2):
        assert generate(tmp_path / str(jobs), plan, 7, jobs, progress=False) == 1100
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(contents(tmp_path / "1")) == 1100


def test_another_seed_draws_other_bytes(tmp_path: Path) -> None:
    plan = make_plan(["Fig"], 8)
    for seed in (0, 1):
        generate(tmp_path / str(seed), plan, seed, 1, progress=False)
    zero, one = (contents(tmp_path / seed) for seed in "01")
    assert zero.keys() == one.keys()
    assert not set(zero.values()) & set(one.values())


def test_finished_folder_is_not_drawn_again(tmp_path: Path) -> None:
    plan = make_plan(["Fig"], 8)
    assert generate(tmp_path / "images", plan, 0, 1, progress=False) == 8
    assert generate(tmp_path / "images", plan, 0, 1, progress=False) == 0
    (tmp_path / "images" / plan[3].path).unlink()
    assert generate(tmp_path / "images", plan, 0, 1, progress=False) == 1


def test_folder_of_another_seed_is_drawn_again_without_leftovers(tmp_path: Path) -> None:
    generate(tmp_path / "images", make_plan(["Fig"], 20), 1, 1, progress=False)
    assert generate(tmp_path / "images", make_plan(["Fig"], 8), 0, 1, progress=False) == 8
    generate(tmp_path / "fresh", make_plan(["Fig"], 8), 0, 1, progress=False)
    assert contents(tmp_path / "images") == contents(tmp_path / "fresh")


def test_foreign_photographs_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph = tmp_path / "images" / "Training" / "Fig" / "0_100.jpg"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(b"a real fig")
    assert main([str(tmp_path / "images"), "--categories", "Fig", "--images", "8"]) == 1
    assert photograph.read_bytes() == b"a real fig"
    assert capsys.readouterr().err.splitlines()[-1].endswith("this command did not draw; choose another folder")


def test_disk_full_is_one_line_and_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bytes = Path.write_bytes

    def fill_up(path: Path, data: bytes) -> int:
        if "Test" not in path.parts:
            return write_bytes(path, data)
        write_bytes(path, data[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    assert main([str(tmp_path / "images"), "--categories", "Fig", "--images", "8"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("sample_images: error: no space left for ")
    assert len(contents(tmp_path / "images")) == 6


def test_unwritable_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([str(tmp_path / "file" / "images")]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("sample_images: error: cannot write ")
    assert line.endswith("choose a writable folder")


@pytest.mark.parametrize("there", [1, 100], ids=["while processes start", "in the middle"])
def test_interrupt_leaves_complete_files_to_continue_with(tmp_path: Path, there: int) -> None:
    command = [
        sys.executable,
        "-m",
        "include.dev.sample_images",
        str(tmp_path / "images"),
        "--categories",
        "Fig,Kiwi,Corn",
    ]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and len(list((tmp_path / "images").rglob("*.jpg"))) < there:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr
    drawn = contents(tmp_path / "images")
    assert there <= len(drawn) < 2158
    assert all(path.endswith("_100.jpg") and not Path(path).name.startswith(".") for path in drawn)
    complete = {image.path: draw(image.category, image.frame, 0) for image in make_plan(["Fig"]) if image.path in drawn}
    assert all(drawn[path] == hashlib.sha256(data).hexdigest() for path, data in complete.items())


def test_settings_name_everything_that_decides_the_bytes() -> None:
    assert writing._settings(3).startswith("seed 3, drawing ")  # noqa: SLF001
    assert writing._settings(3).endswith(f"OpenCV {cv2.__version__}")  # noqa: SLF001
