"""A call that crashes its process costs one result."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fruits_features.extraction import subprocess_pool
from fruits_features.extraction.subprocess_pool import IsolationError, SubprocessPool

ROOT = Path(__file__).parents[4]


def negate(number: int) -> int:
    """Return the negative number. Kill the process for multiples of 3."""
    if number % 3 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


def crash_once(flag: Path) -> str:
    """Abort the process the first time, and create the flag."""
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGABRT)
    return flag.name


def process_of(_: object) -> int:
    return os.getpid()


def fail(message: str) -> None:
    raise ValueError(message)


def end_at_once() -> None:
    os._exit(1)


def test_calls_run_in_one_other_process() -> None:
    with SubprocessPool(process_of) as child:
        processes = {*child.call([1, 2]), *child.call([3])}

    assert len(processes) == 1
    assert os.getpid() not in processes
    assert not multiprocessing.active_children()


def test_calls_keep_their_results_next_to_crashing_ones() -> None:
    with SubprocessPool(negate) as child:
        assert child.call([1, 2, 3, 4, 6, 7]) == [-1, -2, None, -4, None, -7]
        assert child.call([8]) == [-8]


def test_call_that_crashes_only_once_has_a_result(tmp_path: Path) -> None:
    flags = [tmp_path / name for name in "ab"]

    with SubprocessPool(crash_once) as child:
        assert child.call(flags) == ["a", "b"]


def test_call_that_raises_raises() -> None:
    with SubprocessPool(fail) as child, pytest.raises(ValueError, match="not a crash"):
        child.call(["not a crash"])


def test_child_that_cannot_start_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess_pool, "_end_with_parent", end_at_once)

    with SubprocessPool(negate) as child, pytest.raises(IsolationError, match="cannot be started"):
        child.call([1])


def test_child_ends_when_its_parent_is_killed() -> None:
    program = """
import os
from tests.unit.fruits_features.extraction.test_subprocess_pool import SubprocessPool, process_of
if __name__ == "__main__":
    print(SubprocessPool(process_of).call([0])[0], flush=True)
    input()
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'spark_apps'}"}

    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    _, alive = psutil.wait_procs([child], timeout=30)
    for process in alive:
        process.kill()
    assert not alive


def test_child_does_not_run_the_main_module_again(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing\n"
        "from fruits_features.extraction.subprocess_pool import SubprocessPool\n"
        "assert multiprocessing.parent_process() is None, 'run again'\n"
        "with SubprocessPool(len) as child:\n"
        "    print(child.call(['a', 'bc']))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(subprocess_pool.__file__).parents[2])}

    result = subprocess.run([sys.executable, program], env=environment, check=False, capture_output=True, text=True)

    assert (result.stdout, result.stderr) == ("[1, 2]\n", "")
