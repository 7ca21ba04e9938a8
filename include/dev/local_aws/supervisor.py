"""Supervisor: the process of local AWS. It runs the S3 server as a child process and EMR in threads.

`LocalAws.start` (`local.py`) starts it. `include/dev/containers/local-aws.sh` starts it in the foreground, on an
address that other containers reach; its own clients still use loopback.

It writes one line of JSON to standard output: the endpoints, or the reason why it could not start. It then runs until
SIGTERM. With `--lifeline` it also stops when its standard input ends, so that it ends with a test run that is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from include.dev.local_aws.client import client_environment, connect, keys_from_environment, random_keys
from include.dev.local_aws.emr.api import LocalEmrBackend, install
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.gate import Gate
from include.dev.local_aws.processes import MARK, Identity, end_marked
from include.dev.local_aws.reaper import start_reaper
from include.dev.local_aws.s3.server import create_bucket, start_s3_server
from include.dev.local_aws.state import DEFAULT_BUCKET, NODES, StateFolder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable

    from mypy_boto3_s3 import S3Client

ROLES = ("EMR_DefaultRole", "EMR_DefaultRole_V2", "EMR_EC2_DefaultRole")
INSTANCE_PROFILE = "EMR_EC2_DefaultRole"
START_DEADLINE_S = 30.0
MIN_FREE_BYTES = 200 * 2**20
_ONE_ATTEMPT = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
logger = logging.getLogger("local_aws")


@dataclass
class ClusterRuntime:
    """Resources of this machine that all clusters use (`emr.lifecycle.Runtime`)."""

    folder: Path
    nodes: Path
    s3_folder: Path
    aws: dict[str, str]
    mark: dict[str, str]
    state_s: float
    interrupt_grace_s: float
    s3: S3Client


class S3RequestFilter:
    """WSGI filter that rejects S3 requests on EMR's port. Without it, moto answers them from an empty S3 in memory."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        """Answer one request."""
        if "/s3/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
            answer: Iterable[bytes] = self.application(environ, start_response)
            return answer
        start_response("400 Bad Request", [("Content-Type", "application/xml")])
        message = "This is EMR's endpoint. S3 is at AWS_ENDPOINT_URL_S3."
        return [f"<Error><Code>InvalidRequest</Code><Message>{message}</Message></Error>".encode()]


class Supervisor:
    """Starts the servers, waits, and stops everything."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.state = StateFolder(Path(options.state))
        self.run_id = secrets.token_hex(8)
        self.stop = threading.Event()
        self.s3_server: subprocess.Popen[bytes] | None = None
        self.owns_folder = False
        self.keys = keys_from_environment() if options.keys_from_environment else random_keys()

    def run(self) -> dict[str, Any]:
        """Start all servers and return the report.

        Raises:
            LocalAwsError: A server could not start. Call `close` to end the servers that did.
        """
        self._claim_folder()
        self.reaper = start_reaper(self.run_id)
        emr_socket = _bound_socket(self.options.host, self.options.emr_port, "--emr-port")
        aws = self._start_s3(emr_socket.getsockname()[1])
        self._start_emr(emr_socket, aws)
        report = {
            "pid": os.getpid(),
            "started": Identity.of(os.getpid()).started,
            "run_id": self.run_id,
            "environment": aws,
        }
        self.state.publish(report)
        return report

    def wait(self, lifeline: bool) -> None:  # noqa: FBT001 - the only argument
        """Wait for a signal, for the end of the lifeline, or for a server to end."""
        watched = [sys.stdin] if lifeline else []
        while not self.stop.is_set():
            if select.select(watched, [], [], 0.2)[0] and not os.read(sys.stdin.fileno(), 1024):
                return
            if (self.s3_server and self.s3_server.poll() is not None) or self.reaper.poll() is not None:
                logger.error("rclone or the reaper has ended; see the log above. Stopping local AWS.")
                return

    def close(self) -> None:
        """Terminate the clusters as EMR does, then end all remaining processes."""
        for lifecycle in LocalEmrBackend.lifecycles:
            lifecycle.cluster.terminate()
        until = time.monotonic() + 10
        for lifecycle in LocalEmrBackend.lifecycles:
            lifecycle.join(max(0.0, until - time.monotonic()))
        end_marked(MARK, self.run_id, grace_s=1.0)
        if self.owns_folder:
            self.state.clear()
            shutil.rmtree(self.state.clusters, ignore_errors=True)

    def _claim_folder(self) -> None:
        try:
            self.state.folder.mkdir(parents=True, exist_ok=True)
            self.lock = self.state.lock.open("w")
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.owns_folder = True
            self._empty_folder()
        except BlockingIOError:
            raise LocalAwsError(f"Another local AWS uses {self.state.folder}; choose another --state.") from None
        except OSError as error:
            raise LocalAwsError(
                f"Cannot write to {self.state.folder}: {error.strerror}. Choose another --state."
            ) from None
        free = shutil.disk_usage(self.state.folder).free
        if free < MIN_FREE_BYTES:
            raise LocalAwsError(
                f"Only {free // 2**20} MiB are free for {self.state.folder}, at least {MIN_FREE_BYTES // 2**20} are "
                "needed; free some space or choose another --state."
            )

    def _empty_folder(self) -> None:
        shutil.rmtree(self.state.clusters, ignore_errors=True)
        self.state.clusters.mkdir()
        create_bucket(self.state.s3, DEFAULT_BUCKET)

    def _start_s3(self, emr_port: int) -> dict[str, str]:
        with _bound_socket(self.options.host, self.options.s3_port, "--s3-port") as bound:
            port = bound.getsockname()[1]
        environment = os.environ | {MARK: self.run_id}
        with self.state.log.open("ab") as log:
            self.s3_server = start_s3_server(self.state.s3, (self.options.host, port), self.keys, environment, log)
        aws = client_environment(port, emr_port, self.keys)
        self.s3 = connect("s3", aws, _ONE_ATTEMPT)
        until = time.monotonic() + START_DEADLINE_S
        while True:
            if self.s3_server.poll() is not None:
                raise LocalAwsError(f"rclone ended during start-up; see {self.state.log}.")
            try:
                self.s3.head_bucket(Bucket=DEFAULT_BUCKET)
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > until:
                    raise LocalAwsError(
                        f"S3 did not answer on port {port} within {START_DEADLINE_S:.0f} s: {error}"
                    ) from None
                time.sleep(0.05)
            else:
                return aws

    def _start_emr(self, bound: socket.socket, aws: dict[str, str]) -> None:
        runtime = ClusterRuntime(
            folder=self.state.clusters,
            nodes=Path(self.options.nodes),
            s3_folder=self.state.s3,
            aws=aws,
            mark={MARK: self.run_id},
            state_s=self.options.state_seconds,
            interrupt_grace_s=self.options.interrupt_grace_seconds,
            s3=self.s3,
        )
        install(runtime)
        bound.listen(128)
        port = bound.getsockname()[1]
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}", *self.options.allow_host}
        gate = Gate(DomainDispatcherApplication(create_backend_app), self.keys, hosts)
        application = S3RequestFilter(gate)
        server = make_server(
            self.options.host,
            port,
            application,
            threaded=True,
            request_handler=MotoRequestHandler,
            fd=bound.fileno(),
        )
        threading.Thread(target=server.serve_forever, name="emr", daemon=True).start()
        iam = connect("iam", aws, _ONE_ATTEMPT)
        for role in ROLES:
            iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName=INSTANCE_PROFILE)
        iam.add_role_to_instance_profile(InstanceProfileName=INSTANCE_PROFILE, RoleName=INSTANCE_PROFILE)


def _bound_socket(host: str, port: int, option: str) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OverflowError:
        bound.close()
        raise LocalAwsError(f"Port {port} is outside 0 to 65535; choose another with {option}.") from None
    except OSError as error:
        bound.close()
        raise LocalAwsError(
            f"Port {port} is not free ({error.strerror}). Stop the program that uses it (`lsof -i :{port}` shows it), "
            f"or choose another port with {option}."
        ) from None
    return bound


def main(arguments: list[str] | None = None) -> int:
    """Run local AWS until SIGTERM or SIGINT, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m include.dev.local_aws.supervisor",
        description="Run a local AWS in the foreground until SIGTERM. `python -m include.dev.local_aws start` runs one "
        "in the background.",
    )
    parser.add_argument("--state", required=True, help="folder of its state, created if missing")
    parser.add_argument("--nodes", default=str(NODES), help="folder of the clusters' Pythons (%(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; use another than loopback only between containers",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="another name by which clients call EMR (header Host); may be repeated",
    )
    parser.add_argument(
        "--keys-from-environment",
        action="store_true",
        help="use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead of random keys",
    )
    parser.add_argument("--s3-port", type=int, default=0, help="port of S3, 0 for a free one (%(default)s)")
    parser.add_argument("--emr-port", type=int, default=0, help="port of all other services, 0: free (%(default)s)")
    parser.add_argument(
        "--state-seconds", type=float, default=0.3, help="shortest time in a cluster's state (%(default)s)"
    )
    parser.add_argument(
        "--interrupt-grace-seconds", type=float, default=30.0, help="time of a cancelled step to end (%(default)s)"
    )
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    supervisor = Supervisor(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop.set())
    try:
        try:
            report: dict[str, Any] = supervisor.run()
        except LocalAwsError as error:
            report = {"error": str(error)}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(report), flush=True)  # noqa: T201 - the parent process reads it
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        if "error" in report:
            return 1
        supervisor.wait(options.lifeline)
        return 0
    finally:
        supervisor.close()


if __name__ == "__main__":
    sys.exit(main())
