"""Close DAG runs that nothing will finish: fail the run and its tasks, and end its cluster.

`airflow dags test` runs all tasks in its own process. Airflow does not close the run when this process is interrupted:
Ctrl-C in a task counts as a failed try, and anywhere else it leaves a run that is "running" for ever and occupies the
DAG. `close_when_interrupted` therefore replaces an interrupted process by the command of this module. The replacement
also releases the database's locks, which the interrupted process may hold.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    from airflow.models.dagrun import DagRun
    from mypy_boto3_emr import EMRClient
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Mapper, Session

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals of Ctrl-C, of `kill`, and of a terminal that is closed."""


def main(argv: list[str] | None = None) -> int:
    """Close the runs and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fruits_airflow.close_runs",
        description="Close DAG runs that no process works on any more: mark the run and its tasks as failed, and end "
        "its cluster. Runs that have ended stay as they are.",
    )
    parser.add_argument(
        "--run", nargs=2, action="append", required=True, metavar=("DAG_ID", "RUN_ID"), help="run to close (repeatable)"
    )
    parser.add_argument("--keep-clusters", action="store_true", help="leave the runs' clusters as they are")
    parser.add_argument(
        "--note", default="Closed by hand.", help="note of the run in Airflow's UI (default: %(default)s)"
    )
    parser.add_argument("--exit-code", type=int, default=0, help="exit code of this command (default: %(default)s)")
    options = parser.parse_args(argv)
    _end_children()
    for dag_id, run_id in options.run:
        print(close(dag_id, run_id, options.note, keep_clusters=options.keep_clusters), file=sys.stderr)  # noqa: T201 - a command
    exit_code: int = options.exit_code
    return exit_code


def close_when_interrupted() -> None:
    """Close the run of this process when it is interrupted, if this process is `airflow dags test`."""
    if _is_dags_test():
        from airflow.models.dagrun import DagRun
        from sqlalchemy import event

        event.listen(DagRun, "after_insert", _on_new_run, once=True)  # the first run is the command's own


def close(dag_id: str, run_id: str, note: str, *, keep_clusters: bool) -> str:
    """Close a run and return a sentence about it.

    Args:
        dag_id: ID of the DAG.
        run_id: ID of the DAG run.
        note: Reason, which Airflow's UI shows as the note of the run.
        keep_clusters: Leave the run's cluster as it is.
    """
    from airflow.utils.session import create_session

    with create_session() as session:
        has_cluster = _fail(session, dag_id, run_id, note)
    if has_cluster is None:
        return f"Run {run_id} of {dag_id} is not active."
    clusters = _end_clusters(dag_id, run_id) if has_cluster and not keep_clusters else ""
    return f"Run {run_id} of {dag_id} is marked as failed.{clusters}"


def _is_dags_test() -> bool:
    return sys.argv[1:3] == ["dags", "test"]


def _on_new_run(_mapper: Mapper[DagRun], _connection: Connection, run: DagRun) -> None:
    _watch(run.dag_id, run.run_id)


def _watch(dag_id: str, run_id: str) -> None:
    """Replace the process by the command that closes a run when a signal arrives. Ignored signals stay ignored.

    Python writes the number of each signal to the wakeup descriptor, whichever handler is installed. Airflow installs
    its own handler of SIGTERM for each task, which cancels only the task.

    The command gets the import path of now. OpenCV, which a task may be importing when the signal arrives, puts a
    folder with a module `typing` first (`bootstrap` in `cv2/__init__.py`).
    """
    path = os.pathsep.join(filter(None, sys.path))
    arrivals, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    _set_handlers(lambda _number, _frame: None)
    os.register_at_fork(after_in_child=_stop_watching)
    Thread(target=_close_at_signal, args=(arrivals, dag_id, run_id, path), name="close_runs", daemon=True).start()


def _stop_watching() -> None:
    """Handle signals as usual in a forked process, which shares the wakeup descriptor."""
    signal.set_wakeup_fd(-1)
    _set_handlers(signal.SIG_DFL)


def _set_handlers(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in INTERRUPTIONS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _close_at_signal(arrivals: int, dag_id: str, run_id: str, path: str) -> None:
    """Wait for a signal, and replace the process."""
    while True:
        (number,) = os.read(arrivals, 1)
        if number in INTERRUPTIONS:
            _become_closing_command(dag_id, run_id, path, number)


def _become_closing_command(dag_id: str, run_id: str, path: str, number: int) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)  # a second Ctrl-C does not interrupt the closing
    os.write(2, f"\n{signal.Signals(number).name}: closing run {run_id} of {dag_id} …\n".encode())
    command = [sys.executable, "-m", "fruits_airflow.close_runs", "--run", dag_id, run_id]
    options = ["--note", "`airflow dags test` was interrupted.", "--exit-code", str(128 + number)]
    os.execve(sys.executable, [*command, *options], {**os.environ, "PYTHONPATH": path})  # noqa: S606 - without a shell


def _end_children() -> None:
    """End the processes that a task of the interrupted process has started, such as `spark-submit`."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.terminate()


def _fail(session: Session, dag_id: str, run_id: str, note: str) -> bool | None:
    """Mark a run as failed, its started tasks as failed, and its other tasks as skipped.

    Returns:
        Whether the run may have created a cluster; `None` if it is not active.
    """
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState, State, TaskInstanceState
    from sqlalchemy import select

    from fruits_airflow.task_ids import CREATE_CLUSTER

    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if run is None or run.state in State.finished_dr_states:
        return None
    tasks = run.get_task_instances(session=session)
    started = {task.task_id for task in tasks if task.start_date}
    for task in tasks:
        if task.state not in State.finished:
            state = TaskInstanceState.FAILED if task.task_id in started else TaskInstanceState.SKIPPED
            task.set_state(state, session=session)
    run.set_state(DagRunState.FAILED)
    run.note = note
    return CREATE_CLUSTER in started


def _end_clusters(dag_id: str, run_id: str) -> str:
    """End the active clusters of a run, and return a sentence about it."""
    from airflow.providers.amazon.aws.hooks.emr import EmrHook
    from botocore.exceptions import BotoCoreError, ClientError

    from fruits_airflow.emr.owned_clusters import owned
    from fruits_airflow.hooks.aws import RETRY_CONFIG
    from include.settings import settings

    try:
        emr: EMRClient = EmrHook(emr_conn_id=None, config=RETRY_CONFIG).conn
        clusters = owned(emr, settings().deployment_name)
        ids = [cluster.id for cluster in clusters if (cluster.owner.dag_id, cluster.owner.run_id) == (dag_id, run_id)]
        if ids:
            emr.terminate_job_flows(JobFlowIds=ids)
    except (BotoCoreError, ClientError) as error:
        return f" Its cluster may still run: {error} End it in the EMR console. `fruits_janitor` ends it, too."
    return f" Its cluster {', '.join(ids)} is ending." if ids else " It has no active cluster."


if __name__ == "__main__":
    sys.exit(main())
