"""Lifecycle of a cluster: the states, bootstrap actions and steps that moto does not run.

One thread per cluster takes it from STARTING to its end. The threads of the API (`emr.api`) only record requests: a new
step, a cancellation, a termination. The cluster's condition `changed` wakes the thread. Sources of the emulated
behaviour (docs.aws.amazon.com/emr/latest):

* States and their order: ManagementGuide/emr-overview.html, "Understanding the cluster lifecycle"; codes and step
  states: botocore's service model, `ClusterStateChangeReasonCode` and `StepState`.
* Steps: "any step not yet completed is canceled" when a cluster shuts down (APIReference/API_TerminateJobFlows);
  ActionOnFailure (API_StepConfig); cancelling a running step does not trigger its ActionOnFailure, SEND_INTERRUPT is a
  SIGTERM, TERMINATE_PROCESS a SIGKILL to all descendants (ManagementGuide/emr-cancel-steps.html).
* Termination protection also holds against a step's failure (API_JobFlowInstancesConfig).
* Messages: answers of the real service quoted in public repositories: "Cluster ready after last step completed.",
  "Steps completed" and, with the code STEP_FAILURE but the state TERMINATED, "Steps completed with errors"; "Shut down
  as step failed", "Terminated by user request" and the two bootstrap messages in mrjob.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from include.dev.local_aws.emr import faults, yarn
from include.dev.local_aws.emr.faults import Fault, FaultInjector
from include.dev.local_aws.emr.states import (
    ALL_STEPS_COMPLETED,
    NODE_TERMINATED,
    STEP_FAILURE,
    STEPS_COMPLETED_WITH_ERRORS,
    Ending,
)
from include.dev.local_aws.node.python import NodePython
from include.dev.local_aws.node.spark import NodeSpark
from include.dev.local_aws.node.spark_conf import spark_settings, write_spark_conf
from include.dev.local_aws.node.step_process import StepProcess, cluster_environment, upload_logs
from include.dev.local_aws.processes import CLUSTER_MARK, end_marked
from include.dev.local_aws.s3.server import DIR_CACHE_S

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.emr.clusters import LocalCluster, LocalStep
    from include.dev.local_aws.emr.faults import Injected

logger = logging.getLogger(__name__)

TICK_S = 0.05
ACCEPTED_S = 5.0


class Runtime(Protocol):
    """Resources of this machine that a cluster needs."""

    folder: Path
    nodes: Path
    s3_folder: Path
    aws: dict[str, str]
    mark: dict[str, str]
    state_s: float
    interrupt_grace_s: float
    s3: S3Client


class ClusterLifecycle:
    """Runs one cluster in a thread."""

    def __init__(self, cluster: LocalCluster, runtime: Runtime) -> None:
        self.cluster = cluster
        self.runtime = runtime
        self.folder = runtime.folder / cluster.id
        self.environment: dict[str, str] = {}
        self.spark = NodeSpark(runtime.nodes)
        self._thread = threading.Thread(target=self._run_cluster, name=f"cluster-{cluster.id}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the cluster, at most `timeout_s` seconds."""
        self._thread.join(timeout_s)

    def _run_cluster(self) -> None:
        """Take the cluster from STARTING to TERMINATED or TERMINATED_WITH_ERRORS."""
        try:
            ending = self._provision() or self._bootstrap() or self._run_steps()
        except Exception as error:  # an error of the emulator, which EMR calls INTERNAL_ERROR: the cluster must end
            logger.exception("cluster %s", self.cluster.id)
            ending = Ending("INTERNAL_ERROR", f"An internal error occurred: {error}", with_errors=True)
        self._shut_down(ending)

    def _provision(self) -> Ending | None:
        self.cluster.enter("STARTING", message="Configuring cluster software")
        self.cluster.accepted.wait(ACCEPTED_S)  # with a timeout: a cluster of CloudFormation has no RunJobFlow
        if self._termination_requested_within(self.runtime.state_s):
            return self.cluster.ending
        for name in ("bin", "tmp", "steps"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        injected = self.cluster.injected
        if injected and injected.fault is Fault.NO_CAPACITY:
            code, message, details = faults.no_capacity(self.cluster.master_instance_type)
            return Ending(code, message, with_errors=True, details=details)
        return self.cluster.unusable_role()

    def _bootstrap(self) -> Ending | None:
        self.cluster.enter("BOOTSTRAPPING", message="Running bootstrap actions")
        if self._termination_requested_within(self.runtime.state_s):
            return self.cluster.ending
        scripts: list[Path] = []
        for number, action in enumerate(self.cluster.bootstrap_actions, start=1):
            try:
                scripts.append(self._fetch(action.script_path or "", self._bootstrap_folder(number)))
            except (BotoCoreError, ClientError, ValueError) as error:
                logger.warning("bootstrap action %d of %s: %s", number, self.cluster.id, error)
                return self._bootstrap_failure(number, downloaded=False)
        with NodePython(self.runtime.nodes, [script.read_bytes() for script in scripts]) as python:
            while not python.acquire():
                if self._termination_requested_within(TICK_S):
                    return self.cluster.ending
            ending = self._run_bootstrap_actions(scripts, python)
            python.discard() if ending else python.keep()
        return ending

    def _run_bootstrap_actions(self, scripts: list[Path], python: NodePython) -> Ending | None:
        self.spark.ensure_home()
        added = {**self.runtime.aws, **self.runtime.mark}
        self.environment = cluster_environment(self.cluster.id, self.folder, python, self.spark, added)
        for number, (script, action) in enumerate(zip(scripts, self.cluster.bootstrap_actions, strict=True), start=1):
            process = StepProcess(_as_command(script, action.args), self._bootstrap_folder(number), self.environment)
            exit_code = self._run(process)
            self._upload(process, f"node/{self.cluster.master_instance_id}/bootstrap-actions/{number}/")
            if self.cluster.ending:
                return self.cluster.ending
            if exit_code:
                return self._bootstrap_failure(number, downloaded=True)
        return None

    def _bootstrap_folder(self, number: int) -> Path:
        return self.folder / "bootstrap-actions" / str(number)

    def _bootstrap_failure(self, number: int, *, downloaded: bool) -> Ending:
        node = self.cluster.master_instance_id
        message = f"On the master instance ({node}), bootstrap action {number} returned a non-zero return code"
        if not downloaded:
            message = f"Master instance ({node}) failed attempting to download bootstrap action {number} file from S3"
        return Ending("BOOTSTRAP_FAILURE", message, with_errors=True)

    def _fetch(self, path: str, folder: Path) -> Path:
        bucket, key = _split_s3(path)
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / Path(key).name
        content = self.runtime.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        script.write_bytes(faults.bootstrap_of(self.cluster.injected, content))
        script.chmod(0o755)
        return script

    def _run_steps(self) -> Ending:
        self.cluster.be_ready()
        while not (ending := self.cluster.ending):
            step = self.cluster.next_pending_step()
            if step is not None:
                self.cluster.enter("RUNNING", message="Running step")
                if failure := self._run_step(step):
                    return failure
            elif self.cluster.keep_job_flow_alive_when_no_steps:
                message = (
                    "Cluster ready after last step completed." if self.cluster.steps else "Cluster ready to run steps."
                )
                self.cluster.enter("WAITING", message=message)
                self.cluster.wait_for_change()
            else:
                failed = any(step.state == "FAILED" for step in self.cluster.steps)
                return STEPS_COMPLETED_WITH_ERRORS if failed else ALL_STEPS_COMPLETED
        return ending

    def _run_step(self, step: LocalStep) -> Ending | None:
        step.begin()
        folder = self.folder / "steps" / step.id
        conf = write_spark_conf(folder.with_name(f"{step.id}.conf"), self._spark_settings())
        injected = faults.of_step(self.cluster.injected, self.cluster.steps.index(step) + 1)
        environment = self.environment | {"SPARK_CONF_DIR": str(conf)} | faults.environment_of(injected)
        process = StepProcess(faults.command_of(injected, step.args), folder, environment)
        process.note(f"INFO Ensure step {step.id} jar file {step.jar}")
        if step.jar != "command-runner.jar":
            process.note(f"ERROR jar {step.jar!r} is unknown: the local EMR only has command-runner.jar.")
            exit_code = 1
        elif refused := self._refusal_of_yarn(step, process):
            (process.logs / "stderr").write_text(f"{refused}\n", encoding="utf-8")
            exit_code = 1
        else:
            exit_code = self._run(process, step, injected)
        shell_code = exit_code if exit_code >= 0 else 128 - exit_code  # a shell reports signal N as 128 + N
        process.note(f"{'WARN Step failed' if exit_code else 'INFO Step succeeded'} with exitCode {shell_code}")
        log_uri = self._upload(process, f"steps/{step.id}/")
        time.sleep(DIR_CACHE_S)  # Spark wrote files directly: after this the S3 server lists all of them
        if self.cluster.ending or step.cancel_option:
            step.finish("CANCELLED", message="Job terminated" if self.cluster.ending else "Cancelled by user")
            return self.cluster.ending
        if exit_code == 0:
            step.finish("COMPLETED")
            return None
        step.fail(process.last_line_of_stderr() or _last_notes(process), log_uri)
        return self._act_on_failure(step)

    def _refusal_of_yarn(self, step: LocalStep, process: StepProcess) -> str | None:
        """Note where a Spark step's executors would go; return what Spark says if they go nowhere."""
        verdict = yarn.judge(self.cluster.configurations, self.cluster.worker_types, yarn.known_nodes())
        if "spark-submit" not in step.args or verdict is None:
            return None
        process.note(f"INFO {verdict.note}")
        return verdict.refusal

    def _act_on_failure(self, step: LocalStep) -> Ending | None:
        if step.action_on_failure == "CONTINUE":
            return None
        self.cluster.cancel_pending_steps("Job terminated")
        if step.action_on_failure == "CANCEL_AND_WAIT" or self.cluster.termination_protected:
            return None
        return STEP_FAILURE

    def _run(self, process: StepProcess, step: LocalStep | None = None, injected: Injected | None = None) -> int:
        """Run a process until it exits, is cancelled or its cluster ends; return the exit code."""
        try:
            process.start()
        except OSError as error:
            process.note(f"ERROR cannot run program {process.command[:1]}: {error}")
            (process.logs / "stderr").write_text(f"Cannot run program: {error}\n", encoding="utf-8")
            return 127
        kill_at: float | None = None
        injector = FaultInjector(injected, lambda: self.cluster.terminate(NODE_TERMINATED))
        while (exit_code := process.poll()) is None:
            if self.cluster.ending or (step and step.cancel_option == "TERMINATE_PROCESS"):
                process.kill()
            elif step and step.cancel_option and kill_at is None:
                process.interrupt()
                kill_at = time.monotonic() + self.runtime.interrupt_grace_s
            elif kill_at is not None and time.monotonic() > kill_at:
                process.kill()
            else:
                self.cluster.wait_for_change(TICK_S)
            if step:
                injector.inject_if_due(process)
        return exit_code

    def _spark_settings(self) -> dict[str, str]:
        settings = spark_settings(self.runtime.s3_folder, scratch=self.folder / "tmp")
        return settings | faults.spark_of(self.cluster.injected)

    def _upload(self, process: StepProcess, path: str) -> str | None:
        """Upload a process's logs below LogUri. Return their URI, or `None` if the cluster has no LogUri."""
        if not self.cluster.log_uri:
            return None
        try:
            bucket, prefix = _split_s3(self.cluster.log_uri)
            folder = f"{prefix.rstrip('/')}/{self.cluster.id}/{path}".lstrip("/")
            upload_logs(self.runtime.s3, process.logs, bucket, folder)
        except (BotoCoreError, ClientError, ValueError, OSError) as error:  # as on EMR, a lost log fails nothing
            logger.warning("could not upload the logs of %s: %s", self.cluster.id, error)
            return None
        return f"s3://{bucket}/{folder}"

    def _shut_down(self, ending: Ending) -> None:
        self.cluster.enter("TERMINATING", code=ending.code, message=ending.message)
        self.cluster.cancel_pending_steps("Job terminated")
        left = end_marked(CLUSTER_MARK, self.cluster.id)
        if left:
            logger.error("processes of cluster %s still run: %s", self.cluster.id, [process.pid for process in left])
        time.sleep(self.runtime.state_s)
        self.cluster.end("TERMINATED_WITH_ERRORS" if ending.with_errors else "TERMINATED", ending)

    def _termination_requested_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self.cluster.ending and (left := until - time.monotonic()) > 0:
            self.cluster.wait_for_change(left)
        return self.cluster.ending is not None


def _split_s3(uri: str) -> tuple[str, str]:
    """Split an S3 URI into bucket and key.

    >>> _split_s3("s3://bucket/logs/emr/")
    ('bucket', 'logs/emr/')
    """
    scheme, separator, rest = uri.partition("://")
    if scheme not in {"s3", "s3a", "s3n"} or not separator:
        raise ValueError(f"{uri!r} is not an S3 URI; it must begin with s3://.")
    bucket, _, key = rest.partition("/")
    return bucket, key


def _as_command(script: Path, arguments: list[str]) -> list[str]:
    """Return the command that runs a script: its shebang line decides, bash runs a script without one."""
    return [*([] if script.read_bytes().startswith(b"#!") else ["bash"]), str(script), *arguments]


def _last_notes(process: StepProcess) -> str:
    """Return the last two lines of the controller's log, for a process that wrote nothing to stderr."""
    lines = (process.logs / "controller").read_text(encoding="utf-8").splitlines()
    return "; ".join(line.partition(" ")[2] for line in lines[-2:])
