"""Wheels of a lock, from a folder and from pip. No test needs a package index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.artifacts import wheelhouse
from include.artifacts.wheelhouse import EMR, LOCAL, WheelhouseError
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

ARM, X86 = EMR[1], EMR[0]


def test_pins_depend_on_the_platform_and_not_on_the_running_interpreter() -> None:
    lock = """# made by a tool
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via something
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
colorama==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:dd
arm_only==1.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:ee
"""
    numpy = wheelhouse.Pin("numpy", "2.4.6", frozenset({"aa", "bb"}))

    assert wheelhouse.pins(lock, X86) == [numpy]
    assert wheelhouse.pins(lock, ARM) == [numpy, wheelhouse.Pin("arm-only", "1.0", frozenset({"ee"}))]
    assert numpy.line() == "numpy==2.4.6 --hash=sha256:aa --hash=sha256:bb"


def test_gather_lists_the_wheels_of_each_machine_by_content_hash(index: Path, tmp_path: Path) -> None:
    arm = make_wheel(index, "seed", "1.0", "cp311-cp311-manylinux_2_24_aarch64")
    x86 = make_wheel(index, "seed", "1.0", "cp311-abi3-manylinux2014_x86_64")
    make_wheel(index, "seed", "1.0", "cp312-cp312-manylinux_2_28_x86_64")
    pure = make_wheel(index, "stone", "2.0")
    lock = f"seed==1.0 --hash=sha256:{arm} --hash=sha256:{x86}\nstone==2.0 --hash=sha256:{pure}\n"

    house = wheelhouse.gather([lock], EMR, tmp_path / "wheels")

    assert set(house.lists[wheelhouse.name_of(lock)].splitlines()) == {
        f"x86_64 wheels/{x86[:16]}/seed-1.0-cp311-abi3-manylinux2014_x86_64.whl",
        f"x86_64 wheels/{pure[:16]}/stone-2.0-py3-none-any.whl",
        f"aarch64 wheels/{arm[:16]}/seed-1.0-cp311-cp311-manylinux_2_24_aarch64.whl",
        f"aarch64 wheels/{pure[:16]}/stone-2.0-py3-none-any.whl",
    }
    assert {wheel.sha256 for wheel in house.wheels} == {arm, x86, pure}


def test_gather_downloads_nothing_twice(index: Path, tmp_path: Path) -> None:
    lock = f"stone==2.0 --hash=sha256:{make_wheel(index, 'stone', '2.0')}\n"
    first = wheelhouse.gather([lock], [LOCAL], tmp_path / "wheels")
    next(index.iterdir()).unlink()

    assert wheelhouse.gather([lock], [LOCAL], tmp_path / "wheels") == first


def test_gather_rejects_a_wheel_with_another_hash(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "stone", "2.0")
    lock = f"stone==2.0 --hash=sha256:{'0' * 64}\n"

    with pytest.raises(WheelhouseError, match=r"pip cannot download the wheels for x86_64: .*(HASH|hash)"):
        wheelhouse.gather([lock], [X86], tmp_path / "wheels")


def test_gather_without_a_wheel_for_the_platform_names_it(index: Path, tmp_path: Path) -> None:
    digest = make_wheel(index, "seed", "1.0", "cp311-cp311-manylinux_2_40_x86_64")  # newer than Amazon Linux 2023

    with pytest.raises(WheelhouseError, match=r"seed==1\.0"):
        wheelhouse.gather([f"seed==1.0 --hash=sha256:{digest}\n"], [X86], tmp_path / "wheels")


def test_two_locks_share_their_wheels(index: Path, tmp_path: Path) -> None:
    seed, stone = (f"{name}==1.0 --hash=sha256:{make_wheel(index, name, '1.0')}\n" for name in ("seed", "stone"))

    house = wheelhouse.gather([seed, seed + stone], [LOCAL], tmp_path / "wheels")

    assert [len(text.splitlines()) for text in house.lists.values()] == [1, 2]
    assert len(house.wheels) == 2
