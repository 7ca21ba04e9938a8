"""Retry policy and hooks for AWS.

AWS refuses requests above an account's rate (`ThrottlingException`, "Rate exceeded", S3's 503 SlowDown). botocore's
retry mode `standard` repeats these requests, and lost connections, with exponential backoff and jitter (Boto3
documentation, "Retries"). Ten attempts take about one minute. Operators, sensors and their triggers receive this policy
as `botocore_config` from the DAGs' default arguments. Arrow, which validation and report read with, has the same limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError
from tenacity import RetryCallState, retry, retry_if_exception, stop_after_delay, wait_random_exponential

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_s3 import S3Client
    from pyarrow.fs import FileSystem

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
"""Seconds after which RunJobFlow and AddJobFlowSteps are no longer repeated."""
MAX_BACKOFF_S = 20
"""Longest pause between two attempts of RunJobFlow or AddJobFlowSteps, in seconds."""


def s3(**kwargs: Any) -> S3Hook:
    """Return an S3 hook with the retry policy of this module. Takes the arguments of `S3Hook`."""
    return S3Hook(config=RETRY_CONFIG, **kwargs)


def is_aws(client: BaseClient) -> bool:
    """Return whether a client's requests go to AWS, whose S3 and EMR are called with HTTPS, and not to an emulation."""
    return client.meta.endpoint_url.startswith("https://")


def filesystem(s3: S3Hook) -> FileSystem:
    """Return an Arrow file system for reading, with the endpoint, region, credentials and retry limit of an S3 hook.

    Raises:
        botocore.exceptions.NoCredentialsError: The connection has no credentials, and neither has the process.
    """
    from airflow.sdk.log import mask_secret
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    from fruits_features.io.renewed_files import renewed

    client, credentials = cast("S3Client", s3.conn), s3.get_session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    endpoint = urlsplit(client.meta.endpoint_url)

    def connect(keys: ReadOnlyCredentials) -> FileSystem:
        for secret in filter(None, (keys.secret_key, keys.token)):
            mask_secret(secret)
        return S3FileSystem(
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            session_token=keys.token,
            region=client.meta.region_name,
            scheme=endpoint.scheme,
            endpoint_override=endpoint.netloc,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
        )

    return renewed(credentials, connect)


def bucket_region(s3: S3Hook, bucket: str) -> str | None:
    """Return the bucket's region, or the connection's region if S3 does not return one.

    S3 returns the region even if it denies access (Amazon S3 API Reference, *HeadBucket*).
    """
    try:
        answer = cast("dict[str, Any]", cast("S3Client", s3.conn).head_bucket(Bucket=bucket))
    except ClientError as error:
        answer = cast("dict[str, Any]", error.response)
    region: str | None = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    return region or s3.conn_region_name


_REFUSALS = (
    (
        r"ExpiredToken|token included in the request is expired|SSO session .* has expired|Token has expired",
        "Airflow's AWS credentials have expired: let the connection `aws_default` assume a role, which renews them.",
    ),
    (
        r"Unable to locate credentials|InvalidAccessKeyId|SignatureDoesNotMatch|UnrecognizedClient|config profile",
        "Airflow has no valid AWS credentials: check the connection `aws_default` and the credentials of the process.",
    ),
    (
        r"AssumeRole",
        "Airflow may not assume the role of the connection `aws_default`: deploy with `AirflowPrincipalArn`.",
    ),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|must specify a region",
        "Airflow uses another region than the bucket's: set `region_name` of the connection `aws_default`.",
    ),
)


def explain(error: Exception) -> str | None:
    """Return what to do about refused credentials or a wrong region; `None` for other errors.

    >>> explain(NoCredentialsError())[:51]
    'Airflow has no valid AWS credentials: check the con'
    """
    return next((sentence for pattern, sentence in _REFUSALS if re.search(pattern, str(error))), None)


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
    if isinstance(error, ClientError):
        hook.log.warning("EMR throttles %s and created nothing. Trying again: %s", error.operation_name, error)


_repeat_throttled = retry(
    retry=retry_if_exception(is_throttling),
    wait=wait_random_exponential(max=MAX_BACKOFF_S),
    stop=stop_after_delay(MAX_THROTTLED_S),
    before_sleep=_log_retry,
    reraise=True,
)


class CreateHook(EmrHook):
    """EMR hook that never creates two clusters with one RunJobFlow, or two steps with one AddJobFlowSteps.

    botocore repeats a request when the response is lost. Both actions have no idempotency token (EMR's API Reference),
    so each repetition creates another cluster or step. This hook repeats throttled requests only, because EMR has
    certainly refused them. After any other error the caller must look for an existing cluster or step first.
    """

    @_repeat_throttled
    def create_job_flow(self, job_flow_overrides: dict[str, Any]) -> dict[str, Any]:
        """Send RunJobFlow without botocore's retries, and return the response."""
        client: EMRClient = self.get_client_type(region_name=self.region_name, config=self._single_attempt())
        response: dict[str, Any] = client.run_job_flow(**job_flow_overrides)  # type: ignore[assignment] # a TypedDict
        return response

    @_repeat_throttled
    def add_job_flow_steps(self, *args: Any, **kwargs: Any) -> list[str]:
        """Send AddJobFlowSteps without botocore's retries, and return the ids of the steps."""
        once = EmrHook(
            emr_conn_id=None,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=self._single_attempt(),
        )
        return once.add_job_flow_steps(*args, **kwargs)

    def _single_attempt(self) -> Config:
        return self.config.merge(Config(retries={"total_max_attempts": 1}))
