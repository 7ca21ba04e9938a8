"""Credentials, regions and error messages for obstore and pyarrow, as boto3 has them.

obstore and pyarrow read access keys from the environment, web identity tokens and the roles of containers and
instances, and renew them. They support profiles (single sign-on, assumed roles, `credential_process`) in part or not at
all. If a profile may exist, boto3 reads it, with one session per process. The keys are renewed before they expire.
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from obstore.auth.boto3 import Boto3CredentialProvider
    from pyarrow.fs import FileSystem

KEYS_LAST: Final = timedelta(minutes=5)
"""Time after which obstore requests the session's keys again. botocore renews keys at the latest ten minutes before
they expire (`botocore.credentials.RefreshableCredentials`)."""

_PROFILE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}

_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""Variables that provide obstore with credentials, or disable them."""
_METADATA_S = 1.0
"""Timeout in seconds for the instance metadata service, as in botocore (`AWS_METADATA_SERVICE_TIMEOUT`), and for a
server on this machine."""

_NO_CREDENTIALS = "there are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_UNREACHABLE = "S3 does not answer: check the network, and AWS_ENDPOINT_URL if it is set"
_NO_BOTO3 = "AWS_PROFILE and the files in ~/.aws need boto3, which is not installed: pip install boto3"
_PROBLEMS = (
    (
        r"ExpiredToken|TokenRefreshRequired|SSOTokenLoadError|SSO session .* has expired",
        "the AWS credentials have expired: renew them (`aws sso login`, for one), and try again",
    ),
    (
        r"redirect without LOCATION|PermanentRedirect|AuthorizationHeaderMalformed",
        "the bucket is in another region than the one that was asked: set AWS_REGION to the bucket's",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken",
        "AWS does not know the credentials: check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (r"RequestTimeTooSkewed", "the clock of this machine is wrong: set it, for example with chrony, and try again"),
    (r"InvalidObjectState", "the object is archived: restore it, and exclude it from the rule that archives objects"),
    (r"/latest/api/token|Missing ?AccessKeyId", _NO_CREDENTIALS),
    (
        r"AccessDenied|403 Forbidden|lacked the necessary privileges",
        "the AWS credentials lack a permission: it takes s3:ListBucket, s3:GetObject and the key's kms:Decrypt",
    ),
)


class S3AccessError(OSError):
    """S3 rejected the credentials or the region; the message contains the remedy."""


def problem(error: Exception) -> str | None:
    """Return the problem with credentials or region and its remedy; `None` for other errors.

    >>> problem(OSError("400 Bad Request: <Code>ExpiredToken</Code>"))[:36]
    'the AWS credentials have expired: re'
    """
    text = str(error)
    sentence = next((sentence for pattern, sentence in _PROBLEMS if re.search(pattern, text)), None)
    return _no_credentials() if sentence == _NO_CREDENTIALS else sentence


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Set the bucket's region for reads in the block, and explain errors of access and network.

    Reads in the block take `object_store.READER_RETRIES`, so that they fail after some ten seconds without an answer.

    Args:
        uri: `s3://bucket/…`; nothing is done for a path.

    Raises:
        S3AccessError: There are no credentials, S3 rejected them or the region, S3 does not answer or fails, or the
            environment's endpoint is not a URL.
    """
    if not uri.startswith("s3://"):
        yield
        return
    from obstore.exceptions import BaseError  # noqa: PLC0415 - not needed for local files

    _check_address()
    if not _has_credentials():
        raise S3AccessError(f"{uri} cannot be read: {_no_credentials()}.")
    find_region(uri.removeprefix("s3://").partition("/")[0])
    try:
        yield
    except BaseError as error:
        sentence = problem(error) or _fault(error)
        if sentence is None:
            raise
        raise S3AccessError(f"{uri} cannot be read: {sentence}.") from error


def _fault(error: Exception) -> str | None:
    """Return the fault of the network or of S3 after which obstore gave up; `None` for other errors."""
    if failed := re.search(r"status code: (5\d\d[\w ]*)", str(error)):
        return f"S3 fails ({failed[1]}): try again in some minutes"
    return _UNREACHABLE if re.search("error sending request|request or response body error", str(error)) else None


def _no_credentials() -> str:
    """Return why there are no credentials: a profile that only boto3 could read, or nothing at all."""
    return _NO_BOTO3 if _may_have_profile() and find_spec("boto3") is None else _NO_CREDENTIALS


@cache
def profile() -> "Boto3CredentialProvider | None":
    """Return a credential provider for obstore; `None` if obstore finds the credentials itself.

    Raises:
        S3AccessError: The profile does not exist or cannot be used.
    """
    if "AWS_ACCESS_KEY_ID" in os.environ or not _may_have_profile() or find_spec("boto3") is None:
        return None
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - optional, as boto3
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - takes 0.2 s, and boto3 is optional

    try:
        return Boto3CredentialProvider(ttl=KEYS_LAST)
    except ValueError:  # no credentials: reading fails with that error
        return None
    except BotoCoreError as error:
        raise S3AccessError(f"The AWS profile cannot be used: {error}.") from error


@cache
def _has_credentials() -> bool:
    """Return whether there are credentials. Without this check, obstore retries the metadata service."""
    if any(os.environ.get(name) for name in _SOURCES) or profile():
        return True
    instance = urlsplit(os.environ.get("AWS_METADATA_ENDPOINT") or "http://169.254.169.254")
    with suppress(OSError), socket.create_connection((instance.hostname, instance.port or 80), _METADATA_S):
        return True
    return False


def _may_have_profile() -> bool:
    files = (os.environ.get(variable, default) for variable, default in _FILES.items())
    # Without a home folder, `Path.expanduser` raises. This one returns the path as it is, as for botocore.
    found = any(Path(os.path.expanduser(file)).is_file() for file in files)  # noqa: PTH111
    return found or any(os.environ.get(name) for name in _PROFILE)


_regions: dict[str, str] = {}


def find_region(bucket: str) -> None:
    """Look up a bucket's region once per process, with a request without credentials.

    Nothing is looked up if the environment sets an endpoint.
    """
    if endpoint() or bucket in _regions or find_spec("pyarrow") is None:
        return
    from pyarrow.fs import resolve_s3_region  # noqa: PLC0415 - optional for `projection`

    with suppress(OSError):  # no bucket or no network: reading fails with that error
        socket.getaddrinfo(f"s3.{_first_region()}.amazonaws.com", None)  # pyarrow tries for ten seconds
        _regions[bucket] = resolve_s3_region(bucket)


def _first_region() -> str:
    """Return the region whose S3 pyarrow asks for a bucket's region.

    Source: the names that pyarrow 26.0.1 looks up with these variables.
    """
    return os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or "us-east-1"


def region_of(bucket: str) -> str | None:
    """Return the region found by `find_region`; `None` means the environment's region."""
    return _regions.get(bucket)


def endpoint() -> str | None:
    """Return the endpoint of S3 in the environment, if any."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def check_endpoint() -> None:
    """Check that a server on this machine accepts connections, if the environment's endpoint is one.

    Without this check, obstore retries for some seconds.

    Raises:
        S3AccessError: It accepts none, or the endpoint is not a URL.
    """
    _check_address()
    place = urlsplit(endpoint() or "")
    with suppress(ValueError):  # a name, not an address
        if ip_address(place.hostname or "").is_loopback:
            try:
                socket.create_connection((place.hostname, place.port or 80), _METADATA_S).close()
            except OSError as error:
                raise S3AccessError(
                    f"No server answers at {endpoint()}: start it, or correct AWS_ENDPOINT_URL."
                ) from error


def _check_address() -> None:
    """Check that the environment's endpoint, if any, is a URL. For others, obstore ends with a panic.

    Raises:
        S3AccessError: It is none.
    """
    try:
        place = urlsplit(endpoint() or "https://s3.amazonaws.com")
        is_url = place.scheme in {"http", "https"} and bool(place.hostname) and place.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise S3AccessError(f"AWS_ENDPOINT_URL={endpoint()!r} is not a URL: write http://<host>:<port>.")


def open_filesystem(bucket: str) -> "FileSystem":
    """Return a pyarrow file system for a bucket, with the credentials and region of `object_store`.

    pyarrow uses the host name as the bucket if it takes the endpoint from the environment, so the endpoint is passed.
    """
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415 - optional for `projection`

    from fruits_features.io.renewed_files import renewed  # noqa: PLC0415 - needs pyarrow

    place = urlsplit(endpoint() or "")
    options = {
        "region": region_of(bucket),
        "scheme": place.scheme or "https",
        "endpoint_override": place.netloc or None,
    }
    provider = profile()
    if provider is None:
        return S3FileSystem(**options)

    def connect(keys: "ReadOnlyCredentials") -> "FileSystem":
        secrets = {"access_key": keys.access_key, "secret_key": keys.secret_key, "session_token": keys.token}
        return S3FileSystem(**secrets, **options)

    return renewed(provider.credentials, connect)
