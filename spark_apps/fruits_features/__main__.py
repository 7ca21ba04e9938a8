"""Command line of the application.

Exit codes: 0 for success, 2 for invalid arguments, `RunError.exit_code` or 1 for all other errors. The last line of
stderr after an error is `fruits_features: error: …`.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from fruits_features.contract.arguments import Arguments, InvalidArgumentsError
from fruits_features.contract.errors import RunError
from fruits_features.io.s3_access import problem
from fruits_features.job.spark_context import running_context

if TYPE_CHECKING:
    from fruits_features.job.outcome import Outcome

_TASK_ERROR = re.compile(r"^(?:\w+\.)*(\w+Error: .+)$", re.MULTILINE)
"""Last line of a Python traceback, without the module of the error's class."""

_log = logging.getLogger("fruits_features")


def main(argv: Sequence[str] | None = None, run: "Callable[[Arguments], object] | None" = None) -> int:
    """Run the application.

    Args:
        argv: Command line arguments; those of the process if `None`.
        run: Runs the job, and returns its result; `None` for Spark.

    Returns:
        Exit code.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        outcome = (run or _run)(Arguments.from_argv(sys.argv[1:] if argv is None else argv))
    except InvalidArgumentsError as error:
        return _fail(str(error), code=2)
    except RunError as error:
        return _fail(str(error), code=error.exit_code)
    except (BaseError, OSError, Py4JJavaError, PySparkException) as error:
        _log.exception("The run failed")
        refused = problem(error) if isinstance(error, BaseError) else None
        return _fail(f"S3 refused: {refused}." if refused else first_line(error), code=1)
    except Exception as error:  # noqa: BLE001 - the last line names every error
        _log.exception("The run failed")
        return _fail(f"{first_line(error)} (unexpected; the log contains the traceback)", code=1)
    _log.info("Done: %s", outcome)
    return 0


def _run(arguments: Arguments) -> "Outcome":
    """Run the job, and stop Spark before the result is logged."""
    if arguments.region:
        os.environ["AWS_REGION"] = arguments.region
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        context = running_context(arguments.run, arguments.region, arguments.max_image_pixels)
        starting = thread.submit(stack.enter_context, context)
        from fruits_features.job import run  # noqa: PLC0415 - imported while Spark starts

        return run.run(starting.result, arguments)


def first_line(error: Exception) -> str:
    """Return the first line of an error of a task, of Spark or of the object store. The log contains the rest.

    Spark's message for a failed task contains the task's Python traceback, followed by the Java traceback.
    """
    task_errors = _TASK_ERROR.findall(str(error).partition("\n\tat ")[0])
    if task_errors:
        return str(task_errors[-1])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _fail(message: str, *, code: int) -> int:
    """Print the error to stderr and return the exit code.

    spark-submit redirects the stderr of its Python process to stdout. So the line goes through the JVM once there is
    one, because EMR's log `stderr` is the JVM's. Spark's last log lines may follow.
    """
    line = f"fruits_features: error: {message}"
    context: Any = SparkContext
    if context._jvm is None:  # noqa: SLF001 - PySpark has no public access to its JVM
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the documented last line
    else:
        context._jvm.java.lang.System.err.println(line)  # noqa: SLF001 - as above
    return code


if __name__ == "__main__":
    sys.exit(main())
