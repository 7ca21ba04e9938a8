"""A real YARN cluster on this machine: Hadoop's own ResourceManager and NodeManagers, on loopback.

A NodeManager offers the memory and the virtual CPUs of an EC2 instance, whatever this machine has. YARN only counts
them: a container gets what its process takes. So this shows where containers are placed, not how fast they are.

The settings are those of EMR's nodes:

* memory and `minimum-allocation-mb`: EMR Release Guide, "Task configuration";
* the scheduler: EMR uses the capacity scheduler with Hadoop's default calculator, which counts memory alone ("BP 5.1.5"
  of AWS's EMR Best Practices Guide shows 77 executors of 4 cores on an instance of 48 virtual CPUs);
* node labels: where `yarn.node-labels.enabled` is set, EMR makes the label `CORE`, not exclusive, for core nodes, and
  lets the queue use all of it (AWS Knowledge Center, "emr-configure-node-labeling-yarn"; EMR Management Guide,
  "Understand node types"). Task nodes have no label.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.error import URLError
from urllib.request import Request, urlopen
from xml.sax.saxutils import escape

import pyspark

from include.dev.local_aws.processes import Identity, end, tree
from include.dev.ports import free_ports
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psutil

LOCALHOST = "127.0.0.1"
PYSPARK = Path(pyspark.__file__).parent
LABEL = "CORE"
START_DEADLINE_S = 300.0
RESOURCE_MANAGER = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager"
NODE_MANAGER = "org.apache.hadoop.yarn.server.nodemanager.NodeManager"
DAEMON_OPTIONS = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
)

SCHEDULER = {
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": "100",
    "yarn.scheduler.capacity.root.accessible-node-labels": "*",
    "yarn.scheduler.capacity.root.default.accessible-node-labels": "*",
    f"yarn.scheduler.capacity.root.accessible-node-labels.{LABEL}.capacity": "100",
    f"yarn.scheduler.capacity.root.default.accessible-node-labels.{LABEL}.capacity": "100",
}
PASSED_ON = ("JAVA_HOME", "LC_ALL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3")
"""Variables that containers take over from the NodeManager: an EMR node has its programs and its role's credentials."""


@dataclass(frozen=True)
class YarnNode:
    """Resources that one NodeManager offers.

    Args:
        name: Folder of its files.
        memory_mb: Memory for containers.
        vcpus: Virtual CPUs for containers.
        core: Whether it is a core node, else a task node.
    """

    name: str
    memory_mb: int
    vcpus: int
    core: bool = True


class YarnCluster:
    """A ResourceManager and NodeManagers, as a context manager.

    Args:
        folder: For settings, logs and containers.
        jars: Jars of the profile `yarn`.
        nodes: One NodeManager each.
        site: Settings of the cluster's own in `yarn-site.xml`.
        environment: Of the daemons; containers take over `PASSED_ON`.

    Attributes:
        site: Content of `yarn-site.xml` for users of the cluster.
    """

    def __init__(
        self,
        folder: Path,
        jars: Path,
        nodes: Sequence[YarnNode],
        site: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.nodes = nodes
        self._class_path = f"{jars}/*:{PYSPARK}/jars/*"
        self._environment = dict(environment)
        self._web_ports = dict(zip(nodes, free_ports(len(nodes)), strict=True))
        services = ("", "scheduler.", "resource-tracker.", "admin.", "webapp.")
        ports = dict(zip(services, free_ports(len(services)), strict=True))
        self._web = f"http://{LOCALHOST}:{ports['webapp.']}/ws/v1/cluster"
        self.site = {
            **{f"yarn.resourcemanager.{service}address": f"{LOCALHOST}:{port}" for service, port in ports.items()},
            "yarn.scheduler.minimum-allocation-mb": "1",
            "yarn.scheduler.maximum-allocation-mb": str(max(node.memory_mb for node in nodes)),
            "yarn.node-labels.configuration-type": "distributed",
            "yarn.node-labels.fs-store.root-dir": f"file://{folder}/labels",
            **site,
        }
        self._daemons: list[Identity] = []

    @property
    def has_labels(self) -> bool:
        """Whether core nodes have a label."""
        return self.site.get("yarn.node-labels.enabled") == "true"

    def __enter__(self) -> Self:
        """Start the daemons, and return when all NodeManagers are registered."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start("resource-manager", RESOURCE_MANAGER, self.folder / "conf", self.site)
            wait_for(lambda: self._answer("info"), within_s=START_DEADLINE_S, pause_s=0.2)
            if self.has_labels:
                self._add_label()
            for node in self.nodes:
                self._start(node.name, NODE_MANAGER, self.folder / node.name / "conf", self.site | self._of_node(node))
            wait_for(self._registered, within_s=START_DEADLINE_S, pause_s=0.2)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the daemons and whatever they have started."""
        self.stop()

    def stop(self) -> None:
        """Stop the daemons and whatever they have started."""
        end(self.processes(), grace_s=5)
        self._daemons.clear()

    def processes(self) -> list[psutil.Process]:
        """Return the daemons and all processes of their containers."""
        return [process for daemon in reversed(self._daemons) for process in tree(daemon.process())]

    def used_mb(self) -> dict[str, int]:
        """Return the memory of each node's containers in MB, by the node's name."""
        by_port = {port: node.name for node, port in self._web_ports.items()}
        return {
            by_port[int(one["nodeHTTPAddress"].rpartition(":")[2])]: one["usedResource"]["memorySize"]
            for one in self.get("nodes")["nodes"]
        }

    def get(self, path: str) -> Any:  # noqa: ANN401 - the caller knows what it asks for
        """Return an answer of the ResourceManager's REST API, `/ws/v1/cluster/<path>`.

        Its keys are those of Hadoop's classes and not the documented ones, as the minicluster's jar lacks Jettison.
        """
        with urlopen(f"{self._web}/{path}", timeout=60) as response:  # noqa: S310 - our own address
            return json.load(response)

    def _answer(self, path: str) -> Any:  # noqa: ANN401
        try:
            return self.get(path)
        except (URLError, OSError):
            return None

    def _registered(self) -> bool:
        return len(self.get("nodes")["nodes"]) == len(self.nodes)

    def _add_label(self) -> None:
        label = json.dumps({"nodeLabelsInfo": [{"name": LABEL, "exclusivity": "false"}]}).encode()
        request = Request(f"{self._web}/add-node-labels", label, {"Content-Type": "application/json"})  # noqa: S310
        urlopen(request, timeout=60).close()  # noqa: S310 - our own address

    def _of_node(self, node: YarnNode) -> dict[str, str]:
        folder = self.folder / node.name
        site = {
            "yarn.nodemanager.hostname": LOCALHOST,
            "yarn.nodemanager.address": f"{LOCALHOST}:0",
            "yarn.nodemanager.localizer.address": f"{LOCALHOST}:0",
            "yarn.nodemanager.webapp.address": f"{LOCALHOST}:{self._web_ports[node]}",
            "yarn.nodemanager.resource.memory-mb": str(node.memory_mb),
            "yarn.nodemanager.resource.cpu-vcores": str(node.vcpus),
            "yarn.nodemanager.vmem-check-enabled": "false",
            "yarn.nodemanager.disk-health-checker.enable": "false",
            "yarn.nodemanager.local-dirs": str(folder / "local"),
            "yarn.nodemanager.log-dirs": str(folder / "logs"),
            "yarn.nodemanager.env-whitelist": ",".join(PASSED_ON),
            # Hadoop's default, and the programs of a node. The whitelist cannot pass on PATH, as bash always has one.
            "yarn.nodemanager.admin-env": f"MALLOC_ARENA_MAX=$MALLOC_ARENA_MAX,PATH={self._environment['PATH']}",
        }
        if node.core and self.has_labels:
            site["yarn.nodemanager.node-labels.provider"] = "config"
            site["yarn.nodemanager.node-labels.provider.configured-node-partition"] = LABEL
        return site

    def _start(self, name: str, main: str, conf: Path, site: Mapping[str, str]) -> None:
        write_site(conf / "yarn-site.xml", site)
        write_site(conf / "core-site.xml", {"fs.defaultFS": "file:///"})
        write_site(conf / "capacity-scheduler.xml", SCHEDULER)
        java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else "java"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [java, *DAEMON_OPTIONS, "-cp", f"{conf}:{self._class_path}", main],
                env=self._environment,
                cwd=conf,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._daemons.append(Identity.of(process.pid))


def write_site(file: Path, settings: Mapping[str, str]) -> None:
    """Write one of Hadoop's XML files of settings."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"<property><name>{escape(key)}</name><value>{escape(value)}</value></property>"
        for key, value in settings.items()
    ]
    file.write_text("\n".join(["<configuration>", *lines, "</configuration>\n"]), encoding="utf-8")
