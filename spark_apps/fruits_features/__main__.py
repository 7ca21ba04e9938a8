"""The command line: parse, run, exit code.

0: done. 2: bad arguments. 1: everything else. Both failures end with one line on stderr, `fruits_features: error: ...`.
"""

import logging
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from fruits_features.contract.arguments import Arguments, InvalidArgumentsError
from fruits_features.contract.errors import RunError
from fruits_features.job.spark_context import running_context

if TYPE_CHECKING:
    from fruits_features.job.outcome import Outcome

_OF_A_TASK = re.compile(r"^(?:\w+\.)*(\w+Error: .+)$", re.MULTILINE)
"""The last line of a Python traceback, without the module."""

_log = logging.getLogger("fruits_features")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the application.

    Args:
        argv: the arguments; those of the process when `None`.

    Returns:
        The exit code.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        outcome = _run(Arguments.from_argv(sys.argv[1:] if argv is None else argv))
    except InvalidArgumentsError as error:
        return _fail(str(error), code=2)
    except RunError as error:
        return _fail(str(error), code=1)
    except (BaseError, OSError, Py4JJavaError, PySparkException) as error:
        _log.exception("The run failed")
        return _fail(first_line(error), code=1)
    _log.info("Done: %s", outcome)
    return 0


def _run(arguments: Arguments) -> "Outcome":
    """Run the job in a context that is stopped before anything else is said."""
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        starting = thread.submit(stack.enter_context, running_context(arguments.run))
        from fruits_features.job import run  # noqa: PLC0415 - takes long, but no longer than Spark takes to start

        return run.run(starting.result, arguments)


def first_line(error: Exception) -> str:
    """Reduce an error of a task, Spark or the object store to its first line; the log holds the rest.

    Spark wraps a task's error in its own words: the task's traceback, then Java's.
    """
    of_task = _OF_A_TASK.findall(str(error).partition("\n\tat ")[0])
    if of_task:
        return str(of_task[-1])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _fail(sentence: str, *, code: int) -> int:
    """Say on stderr why the run failed.

    spark-submit sends what its Python writes to stderr to its own stdout; once there is a JVM, its stderr is the one
    that people and EMR's logs call stderr. Spark's last log lines may still follow.
    """
    line = f"fruits_features: error: {sentence}"
    context: Any = SparkContext
    if context._jvm is None:  # noqa: SLF001 - PySpark has no public way to its JVM
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the contract's last line
    else:
        context._jvm.java.lang.System.err.println(line)  # noqa: SLF001
    return code


if __name__ == "__main__":
    sys.exit(main())
