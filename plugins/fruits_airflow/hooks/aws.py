"""How this plugin talks to AWS: patiently, and RunJobFlow only once.

AWS refuses requests above an account's rate (`ThrottlingException`, "Rate exceeded", S3's 503 SlowDown). botocore's
retry mode `standard` repeats those, and lost connections, with exponential backoff and jitter; ten attempts are about
a minute. Operators, sensors and their triggers get it as `botocore_config` from the DAGs' default arguments. Arrow, by
which validation and report read, does likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict, cast
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import ClientError
from tenacity import RetryCallState, retry, retry_if_exception, stop_after_delay, wait_random_exponential

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_s3 import S3Client
    from pyarrow.fs import S3FileSystem

MAX_ATTEMPTS = 10
PATIENT: Final[dict[str, Any]] = {"retries": {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}}
"""botocore's `Config` for everything that may be asked twice."""

THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
}
EXPIRED = {"ExpiredTokenException", "ExpiredToken"}
THROTTLED_FOR_S = 120
LONGEST_PAUSE_S = 20


def s3(**kwargs: Any) -> S3Hook:
    """S3 by Airflow's connection; arguments as for `S3Hook`."""
    return S3Hook(config=PATIENT, **kwargs)


def filesystem(s3: S3Hook) -> S3FileSystem:
    """The bucket as Airflow's connection reaches it: the same endpoint, region and credentials, and as patiently."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    credentials, client = s3.get_credentials(), cast("S3Client", s3.conn)
    endpoint = urlsplit(client.meta.endpoint_url)
    return S3FileSystem(
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        session_token=credentials.token,
        region=client.meta.region_name,
        scheme=endpoint.scheme,
        endpoint_override=endpoint.netloc,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
    )


class Patience(TypedDict):
    """What a trigger that waits is told: seconds between two looks, and how many looks."""

    waiter_delay: int
    waiter_max_attempts: int


def patience(longest_s: int) -> Patience:
    """How a trigger waits: as often as the deployment's settings say, and no longer than told."""
    from include.settings import settings

    delay = settings().emr_poll_s
    return {"waiter_delay": delay, "waiter_max_attempts": longest_s // delay + 1}


def was_throttled(error: BaseException) -> bool:
    """Whether AWS refused a request only for its rate."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in THROTTLED


def _tell(state: RetryCallState) -> None:
    hook: EmrHook = state.args[0]
    error = state.outcome.exception() if state.outcome else None
    hook.log.warning("EMR throttles RunJobFlow, so no cluster was made; trying again: %s", error)


class CreateHook(EmrHook):
    """EMR, with a RunJobFlow that never makes two clusters.

    botocore repeats a request whose answer it did not get, and so would make one cluster more with each. Here that is
    left to the caller, who looks first. A throttled request alone is repeated: it was certainly refused.
    """

    @retry(
        retry=retry_if_exception(was_throttled),
        wait=wait_random_exponential(max=LONGEST_PAUSE_S),
        stop=stop_after_delay(THROTTLED_FOR_S),
        before_sleep=_tell,
        reraise=True,
    )
    def create_job_flow(self, job_flow_overrides: dict[str, Any]) -> dict[str, Any]:
        """Send RunJobFlow, once."""
        answer: dict[str, Any] = self._once().run_job_flow(**job_flow_overrides)  # type: ignore[assignment]
        return answer

    def _once(self) -> EMRClient:
        once = self.config.merge(Config(retries={"total_max_attempts": 1}))
        client: EMRClient = self.get_client_type(region_name=self.region_name, config=once)
        return client
