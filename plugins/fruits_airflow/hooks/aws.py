"""Retry policy and hooks for AWS.

AWS refuses requests above an account's rate (`ThrottlingException`, "Rate exceeded", S3's 503 SlowDown). botocore's
retry mode `standard` repeats these requests, and lost connections, with exponential backoff and jitter (Boto3
documentation, "Retries"). Ten attempts take about one minute. Operators, sensors and their triggers receive this policy
as `botocore_config` from the DAGs' default arguments. Arrow, which validation and report read with, has the same limit.
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
"""Attempts per request, including the first."""
RETRY_CONFIG: Final[dict[str, Any]] = {"retries": {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}}
"""Arguments of botocore's `Config` for requests that are safe to repeat."""

THROTTLING_CODES = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
}
EXPIRED_CODES = {"ExpiredTokenException", "ExpiredToken"}
MAX_THROTTLED_S = 120
"""Seconds after which RunJobFlow is no longer repeated."""
MAX_BACKOFF_S = 20
"""Longest pause between two attempts of RunJobFlow, in seconds."""


def s3(**kwargs: Any) -> S3Hook:
    """Return an S3 hook with the retry policy of this module. Takes the arguments of `S3Hook`."""
    return S3Hook(config=RETRY_CONFIG, **kwargs)


def filesystem(s3: S3Hook) -> S3FileSystem:
    """Return an Arrow file system with the endpoint, region, credentials and retry limit of an S3 hook."""
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


class WaiterConfig(TypedDict):
    """Polling arguments of the provider's triggers: delay in seconds, and number of attempts."""

    waiter_delay: int
    waiter_max_attempts: int


def waiter_config(timeout_s: int) -> WaiterConfig:
    """Return the polling arguments of a trigger.

    Args:
        timeout_s: Longest wait in seconds. The delay between attempts is `FRUITS_EMR_POLL_S`.
    """
    from include.settings import settings

    delay = settings().emr_poll_s
    return {"waiter_delay": delay, "waiter_max_attempts": timeout_s // delay + 1}


def is_throttling(error: BaseException) -> bool:
    """Return whether AWS refused a request because of its rate."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in THROTTLING_CODES


def _log_retry(state: RetryCallState) -> None:
    hook: EmrHook = state.args[0]
    error = state.outcome.exception() if state.outcome else None
    hook.log.warning("EMR throttles RunJobFlow. No cluster was created. Trying again: %s", error)


class CreateHook(EmrHook):
    """EMR hook that never creates two clusters with one RunJobFlow.

    botocore repeats a request when the response is lost. For RunJobFlow each repetition creates another cluster. This
    hook repeats throttled requests only, because EMR has certainly refused them. After any other error the caller must
    look for an existing cluster first.
    """

    @retry(
        retry=retry_if_exception(is_throttling),
        wait=wait_random_exponential(max=MAX_BACKOFF_S),
        stop=stop_after_delay(MAX_THROTTLED_S),
        before_sleep=_log_retry,
        reraise=True,
    )
    def create_job_flow(self, job_flow_overrides: dict[str, Any]) -> dict[str, Any]:
        """Send RunJobFlow without botocore's retries, and return the response."""
        response: dict[str, Any] = self._single_attempt_client().run_job_flow(**job_flow_overrides)  # type: ignore[assignment]
        return response

    def _single_attempt_client(self) -> EMRClient:
        config = self.config.merge(Config(retries={"total_max_attempts": 1}))
        client: EMRClient = self.get_client_type(region_name=self.region_name, config=config)
        return client
