"""A child process is logged, and ends at its limits and with the task."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from fruits_airflow.hooks.processes import Child, Limits, free_memory_mb

if TYPE_CHECKING:
    from pathlib import Path

GENEROUS = Limits(memory_mb=500, seconds=600)
SLEEP = "print('started', flush=True); import time; time.sleep(3600)"


def child(code: str) -> Child:
    return Child([sys.executable, "-c", code], os.environ)


def test_output_is_logged_line_by_line_and_the_exit_code_returned() -> None:
    lines: list[str] = []

    code = child("import sys; print('one', flush=True); print('zwei \\xfc', file=sys.stderr); sys.exit(3)").follow(
        lines.append, GENEROUS
    )

    assert (code, lines) == (3, ["one", "zwei ü"])


def test_child_that_takes_too_long_is_ended() -> None:
    slow = child(SLEEP)

    code = slow.follow(lambda _: None, Limits(500, seconds=0.2))

    assert (code, slow.stopped) == (-9, "it took longer than 0 s")


@pytest.mark.parametrize(
    "code",
    [
        "data = b'x' * 300_000_000; print('filled', flush=True); import time; time.sleep(3600)",
        "import os, time; data = os.fork() or bytes(range(256)) * 1_200_000; time.sleep(3600)",
    ],
    ids=["itself", "its child"],
)
def test_child_that_takes_too_much_memory_is_ended_with_its_children(code: str) -> None:
    before = _children()
    large = child(code)

    assert large.follow(lambda _: None, Limits(memory_mb=200, seconds=600)) == -9
    assert str(large.stopped).endswith(" MB of memory, and 200 MB are allowed")
    assert _children() <= before


def test_reserved_memory_that_is_not_used_does_not_count() -> None:
    reserving = child("import mmap; space = mmap.mmap(-1, 10**9)")

    assert reserving.follow(lambda _: None, Limits(memory_mb=200, seconds=600)) == 0
    assert reserving.stopped is None


def test_interruption_ends_the_child() -> None:
    before = _children()
    interrupted = child(SLEEP)

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.follow(interrupt, GENEROUS)
    assert _children() <= before


def test_end_from_another_thread_ends_the_child() -> None:
    killed = child(SLEEP)

    code = killed.follow(lambda _: threading.Thread(target=killed.end).start(), GENEROUS)

    assert (code, killed.stopped) == (-9, None)


@pytest.mark.parametrize(
    ("container", "free_mb"),
    [
        ({}, 3000),
        ({"memory.max": "max\n"}, 3000),
        ({"memory.max": "2000000000\n"}, 1700),
        ({"memory.max": "9000000000\n"}, 3000),
    ],
    ids=["machine", "container without a limit", "container", "container larger than its machine"],
)
def test_free_memory_is_that_of_the_machine_or_of_its_container(
    container: dict[str, str], free_mb: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3_000_000_000))
    used = {"memory.current": "800000000\n", "memory.stat": "anon 300000000\ninactive_file 500000000\nfile 1\n"}
    for name, content in (container and used | container).items():
        (tmp_path / name).write_text(content)

    assert free_memory_mb(tmp_path) == free_mb


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))
