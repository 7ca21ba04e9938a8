"""A call that crashes its process, or exceeds its deadline, costs one result."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fruits_features.extraction import subprocess_pool
from fruits_features.extraction.subprocess_pool import (
    EXIT_TIMED_OUT,
    Failure,
    IsolationError,
    SubprocessPool,
)

DEADLINE_S = 60.0
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


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


class CrashesOnLoad:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)

    def __call__(self, argument: int) -> int:
        return argument


def test_calls_run_in_one_other_process() -> None:
    before = set(multiprocessing.active_children())

    with SubprocessPool(process_of, DEADLINE_S) as child:
        processes = {*child.map([1, 2], "ab"), *child.map([3], "c")}

    assert len(processes) == 1
    assert os.getpid() not in processes
    assert set(multiprocessing.active_children()) <= before


def test_calls_keep_their_results_next_to_crashing_ones(caplog: pytest.LogCaptureFixture) -> None:
    crashed = Failure.CRASHED

    with SubprocessPool(negate, DEADLINE_S) as child:
        assert [*child.map([1, 2, 3, 4, 6, 7], "abcdef")] == [-1, -2, crashed, -4, crashed, -7]
        assert [*child.map([8], "g")] == [-8]

    assert [message.split()[0] for message in caplog.messages] == ["c", "e"]


def test_calls_keep_their_results_next_to_one_that_exceeds_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    before = set(multiprocessing.active_children())

    with SubprocessPool(wait, deadline_s=2) as child:
        results = [*child.map([0, 3600, 0.1], ["a", "s3://fruits/slow.jpg", "c"])]

    assert results == [0, Failure.TIMED_OUT, 0.1]
    assert caplog.messages == ["s3://fruits/slow.jpg took longer than 2 s. Its process was killed."]
    assert set(multiprocessing.active_children()) <= before


def test_call_that_crashes_only_once_has_a_result(tmp_path: Path) -> None:
    flags = [tmp_path / name for name in "ab"]

    with SubprocessPool(crash_once, DEADLINE_S) as child:
        assert [*child.map(flags, "ab")] == ["a", "b"]


def test_call_that_raises_raises() -> None:
    with SubprocessPool(fail, DEADLINE_S) as child, pytest.raises(ValueError, match="not a crash"):
        [*child.map(["not a crash"], "a")]


def test_child_that_cannot_start_raises() -> None:
    with SubprocessPool(CrashesOnLoad(), DEADLINE_S) as child, pytest.raises(IsolationError, match="cannot be started"):
        [*child.map([1], "a")]


def test_child_sets_its_environment() -> None:
    with SubprocessPool(os.getenv, DEADLINE_S, {"FRUITS_TEST": "set"}) as child:
        assert [*child.map(["FRUITS_TEST"], "a")] == ["set"]

    assert "FRUITS_TEST" not in os.environ


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, because it may end itself."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "spark_apps")}
    command = [sys.executable, "-c", "import time\n" + program]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)


def test_deadline_does_not_apply_between_calls_in_this_process() -> None:
    result = run_program("""
from fruits_features.extraction.subprocess_pool import InProcess
with InProcess(abs, deadline_s=3) as pool:
    for result in pool.map([-1, -2], "ab"):
        time.sleep(5)
        print(result, flush=True)
""")

    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n2\n", "")


def test_process_ends_itself_when_a_call_in_it_exceeds_the_deadline() -> None:
    result = run_program("""
from fruits_features.extraction.subprocess_pool import InProcess
with InProcess(time.sleep, deadline_s=3) as pool:
    for _ in pool.map([0, 3600], ["a", "s3://fruits/slow.jpg"]):
        print("slept", flush=True)
""")

    assert (result.returncode, result.stdout) == (EXIT_TIMED_OUT, "slept\n")
    assert result.stderr == "s3://fruits/slow.jpg took longer than 3 s. Ending this process.\n"


def test_child_ends_when_its_parent_is_killed() -> None:
    program = """
import os
from tests.unit.fruits_features.extraction.test_subprocess_pool import SubprocessPool, process_of
if __name__ == "__main__":
    print(*SubprocessPool(process_of, 60).map([0], "a"), flush=True)
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
        "with SubprocessPool(len, 60) as child:\n"
        "    print([*child.map(['a', 'bc'], 'ab')])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(subprocess_pool.__file__).parents[2])}

    result = subprocess.run([sys.executable, program], env=environment, check=False, capture_output=True, text=True)

    assert (result.stdout, result.stderr) == ("[1, 2]\n", "")
