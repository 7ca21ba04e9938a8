"""Changes to moto's EMR: the requests that its API accepts, rejects and answers.

moto 5.2's EMR has the shapes of the API but does not run anything:

* A new cluster is WAITING immediately, and its first step is RUNNING forever.
* A step that is added to a terminated cluster revives the cluster.
* `CancelSteps` and the getters of both policies are missing.
* Unknown ids return an empty answer or an HTTP 500.

The subclasses in this module replace these parts. `emr.lifecycle` runs the clusters, `emr.fleets` answers for instance
fleets. Tags, instance groups, security configurations and CloudFormation stay moto's.

Sources of the answers:

* Shapes and enumerations: botocore's service model.
* Termination protection and `Cluster id '…' is not valid.`: moto's "error message verified against real AWS".
* "A job flow that is shutting down, terminated, or finished may not be modified.": terraform-provider-aws.
* "Specified job flow ID does not exist.": raster-foundry 352.
* "Invalid InstanceProfile: …": public issues that quote the ValidationException of RunJobFlow.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, ClassVar

import flask
import moto.emr.urls
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult, PaginatedResult
from moto.emr.exceptions import InvalidCluster, InvalidRequestException, ValidationException
from moto.emr.models import Cluster, ElasticMapReduceBackend, Step, emr_backends
from moto.emr.responses import ElasticMapReduceResponse
from moto.iam.models import iam_backends

from include.dev.local_aws.emr.catalog import require_known
from include.dev.local_aws.emr.clusters import LocalCluster
from include.dev.local_aws.emr.faults import FAULT_TAG, Fault, Injected, Refusals
from include.dev.local_aws.emr.fleets import LocalFleet, instances
from include.dev.local_aws.emr.lifecycle import ClusterLifecycle
from include.dev.local_aws.emr.states import ACCEPTS_STEPS, TERMINATED

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

    from include.dev.local_aws.emr.lifecycle import Runtime

MAX_STEPS = 256


class LocalEmrBackend(ElasticMapReduceBackend):
    """moto's EMR, with clusters that run and requests that are rejected as by EMR."""

    runtime: ClassVar[Runtime]
    lifecycles: ClassVar[list[ClusterLifecycle]] = []

    @property
    def _url_module(self) -> Any:  # noqa: ANN401 - moto derives it from the class's module, and this one is not moto's
        return moto.emr.urls

    def run_job_flow(self, **kwargs: Any) -> Cluster:  # noqa: ANN401 - moto's own signature
        """Create a cluster and start its lifecycle."""
        kwargs["instance_attrs"].update(self._security_groups(kwargs["instance_attrs"]))
        self._require_instance_profile(kwargs["job_flow_role"])
        cluster = LocalCluster(self, **kwargs)  # type: ignore[abstract] # as moto instantiates its own
        lifecycle = ClusterLifecycle(cluster, self.runtime)
        lifecycle.start()  # before it is listed: `Supervisor.close` joins every listed lifecycle
        self.lifecycles.append(lifecycle)
        return cluster

    def add_job_flow_steps(self, job_flow_id: str, steps: list[dict[str, Any]]) -> list[Step]:
        """Add steps to a cluster that accepts them."""
        cluster = self._job_flow(job_flow_id)
        if cluster.ending or cluster.state not in ACCEPTS_STEPS:
            raise ValidationException(
                "A job flow that is shutting down, terminated, or finished may not be modified.",
            )
        if len(cluster.steps) + len(steps) > MAX_STEPS:
            raise ValidationException(f"Maximum number of steps for job flow exceeded: {MAX_STEPS}")
        return cluster.add_steps(steps)

    def terminate_job_flows(self, job_flow_ids: list[str]) -> list[Cluster]:
        """Request the termination of clusters. A terminated cluster stays as it is."""
        clusters = [self._job_flow(job_flow_id) for job_flow_id in job_flow_ids]
        terminated = {cluster.id for cluster in clusters if cluster.state in TERMINATED}
        return super().terminate_job_flows([cluster_id for cluster_id in job_flow_ids if cluster_id not in terminated])

    def describe_step(self, cluster_id: str, step_id: str) -> Step:
        """Return a step.

        Raises:
            InvalidRequestException: The cluster or the step does not exist.
        """
        step = super().describe_step(self.local_cluster(cluster_id).id, step_id)
        if step is None:
            raise InvalidRequestException(f"Step id '{step_id}' is not valid.")
        return step

    def list_steps(
        self, cluster_id: str, step_ids: list[str] | None = None, step_states: list[str] | None = None
    ) -> list[Step]:
        """Return steps, the newest first."""
        steps = list(reversed(self.local_cluster(cluster_id).local_steps()))
        selected = [step for step in steps if not step_ids or step.id in step_ids]
        return [step for step in selected if not step_states or step.status["State"] in step_states]

    def list_bootstrap_actions(self, cluster_id: str) -> list[Any]:
        """Return the bootstrap actions of a cluster."""
        return super().list_bootstrap_actions(self.local_cluster(cluster_id).id)

    def local_cluster(self, cluster_id: str) -> LocalCluster:
        """Return a cluster.

        Raises:
            InvalidCluster: The cluster does not exist. All actions but those on job flows answer like this.
        """
        cluster = self.clusters.get(cluster_id)
        if not isinstance(cluster, LocalCluster):
            raise InvalidCluster(cluster_id)
        return cluster

    def _job_flow(self, job_flow_id: str) -> LocalCluster:
        cluster = self.clusters.get(job_flow_id)
        if not isinstance(cluster, LocalCluster):
            raise ValidationException("Specified job flow ID does not exist.")
        return cluster

    def _security_groups(self, instance_attrs: dict[str, Any]) -> dict[str, str]:
        names = (
            "emr_managed_master_security_group",
            "emr_managed_slave_security_group",
            "service_access_security_group",
        )
        return dict(zip(names, self._manage_security_groups(**instance_attrs), strict=True))

    def _require_instance_profile(self, name: str | None) -> None:
        profiles = iam_backends[self.account_id]["aws"].instance_profiles.values()
        if name and name.rpartition("/")[2] not in {profile.name for profile in profiles}:
            raise ValidationException(f"Invalid InstanceProfile: {name}.")


class LocalEmrResponse(ElasticMapReduceResponse):
    """Actions that moto lacks. Policies are stored and returned, but have no effect."""

    policies: ClassVar[dict[tuple[str, str], Any]] = {}
    refusals: ClassVar[Refusals] = Refusals()

    def call_action(self) -> TYPE_RESPONSE:
        """Answer a call, or reject it if the cluster's fault says so."""
        try:
            self._refuse()
        except ServiceException as error:
            status, headers, body = self.serialized(ActionResult(error))
            return status, headers, body
        return super().call_action()

    def _refuse(self) -> None:
        action, request = self._get_action(), self._get_params()
        if action == "RunJobFlow":
            self.refusals.check(action, request["Name"], _injected(request.get("Tags", [])), request)
        cluster_id = request.get("ClusterId") or request.get("JobFlowId") or request.get("JobFlowIds", [""])[0]
        cluster = self._local().clusters.get(cluster_id)
        if isinstance(cluster, LocalCluster):
            self.refusals.check(action, cluster.id, cluster.injected, request)

    def run_job_flow(self) -> ActionResult:
        """Create a cluster, with its fleets and policies."""
        require_known(self._get_params())
        result = super().run_job_flow()
        cluster = self._local().local_cluster(result.result["JobFlowId"])  # type: ignore[index] # typed as object
        fleets = self._get_param("Instances", {}).get("InstanceFleets", [])
        cluster.fleets = [LocalFleet.of(config) for config in fleets]
        for name in ("AutoTerminationPolicy", "ManagedScalingPolicy"):
            if (policy := self._get_params().get(name)) is not None:
                self.policies[cluster.id, name] = policy
        cluster.injected = _injected(self._get_param("Tags", []))
        cluster.accepted.set()
        _delay(cluster)
        if cluster.injected and cluster.injected.fault is Fault.ANSWER_LOST:
            flask.request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return result

    def add_job_flow_steps(self) -> ActionResult:
        """Add steps."""
        result = super().add_job_flow_steps()
        _delay(self._local().local_cluster(self._get_param("JobFlowId")))
        return result

    def list_instance_fleets(self) -> ActionResult:
        """List the fleets."""
        cluster = self._local().local_cluster(self._get_param("ClusterId"))
        return PaginatedResult({"InstanceFleets": [fleet.describe(cluster) for fleet in cluster.fleets]})

    def list_instances(self) -> ActionResult:
        """List the nodes."""
        cluster = self._local().local_cluster(self._get_param("ClusterId"))
        if not cluster.fleets:
            return super().list_instances()
        return PaginatedResult({"Instances": instances(cluster.fleets, cluster, self._get_params())})

    def cancel_steps(self) -> ActionResult:
        """Cancel pending and running steps."""
        cluster = self._local().local_cluster(self._get_param("ClusterId"))
        option = self._get_param("StepCancellationOption", "SEND_INTERRUPT")
        answers = [cluster.cancel_step(step_id, option) for step_id in self._get_param("StepIds", [])]
        return ActionResult({"CancelStepsInfoList": answers})

    def put_auto_termination_policy(self) -> ActionResult:
        """Store the idle timeout."""
        return self._put_policy("AutoTerminationPolicy")

    def get_auto_termination_policy(self) -> ActionResult:
        """Return the idle timeout."""
        return self._get_policy("AutoTerminationPolicy")

    def remove_auto_termination_policy(self) -> ActionResult:
        """Remove the idle timeout."""
        return self._remove_policy("AutoTerminationPolicy")

    def put_managed_scaling_policy(self) -> ActionResult:
        """Store the scaling limits."""
        return self._put_policy("ManagedScalingPolicy")

    def get_managed_scaling_policy(self) -> ActionResult:
        """Return the scaling limits."""
        return self._get_policy("ManagedScalingPolicy")

    def remove_managed_scaling_policy(self) -> ActionResult:
        """Remove the scaling limits."""
        return self._remove_policy("ManagedScalingPolicy")

    def _put_policy(self, name: str) -> ActionResult:
        self.policies[self._cluster_id(), name] = self._get_params()[name]
        return EmptyResult()

    def _get_policy(self, name: str) -> ActionResult:
        policy = self.policies.get((self._cluster_id(), name))
        return ActionResult({name: policy} if policy is not None else {})

    def _remove_policy(self, name: str) -> ActionResult:
        self.policies.pop((self._cluster_id(), name), None)
        return EmptyResult()

    def _cluster_id(self) -> str:
        return self._local().local_cluster(self._get_param("ClusterId")).id

    def _local(self) -> LocalEmrBackend:
        assert isinstance(self.backend, LocalEmrBackend)  # noqa: S101 - narrows the type; `install` made it so
        return self.backend


def _delay(cluster: LocalCluster) -> None:
    """Delay the answer if the cluster's fault is `answer-late`."""
    if cluster.injected and cluster.injected.fault is Fault.ANSWER_LATE:
        time.sleep(float(cluster.injected.argument))


def _injected(tags: list[dict[str, str]]) -> Injected | None:
    """Return the fault that the tags name, or `None`.

    Raises:
        ValidationException: The fault is unknown.
    """
    try:
        return Injected.of(tags)
    except ValueError as error:
        raise ValidationException(f"Tag {FAULT_TAG}: {error}") from None


def install(runtime: Runtime) -> None:
    """Replace moto's classes by those of this module. Call it before moto's server answers its first request."""
    LocalEmrBackend.runtime = runtime
    emr_backends.backend = LocalEmrBackend
    moto.emr.urls.url_paths["{0}/$"] = LocalEmrResponse.dispatch
