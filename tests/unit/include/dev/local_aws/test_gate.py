"""The gate passes on signed requests of this machine's clients, and nothing that a web page can send."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from werkzeug.serving import make_server

from include.dev.local_aws.gate import MAX_BODY_BYTES, Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = Credentials("local-1", "secret-1")
BODY = b'{"Marker": "x"}'


class Behind:
    """An application that records what reaches it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:  # noqa: ANN401 - WSGI
        self.bodies.append(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
        return [b'{"Clusters": []}']


class Served:
    """A gate on a port of loopback."""

    def __init__(self, port: int, behind: Behind) -> None:
        self.port, self.behind = port, behind

    def send(
        self, method: str = "POST", body: bytes = BODY, keys: Credentials = KEYS, **changes: str
    ) -> tuple[int, str]:
        """Send a request whose signature is right, with changed headers; return status and answer."""
        host = f"127.0.0.1:{self.port}"
        request = AWSRequest(method, f"http://{host}/", data=body, headers={"Host": host, "X-Amz-Target": "A.List"})
        SigV4Auth(keys, "elasticmapreduce", "eu-west-1").add_auth(request)
        headers = dict(request.headers.items()) | {name.replace("_", "-"): value for name, value in changes.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, "/", body, {name: value for name, value in headers.items() if value})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    behind = Behind()
    server = make_server("127.0.0.1", 0, behind, threaded=True)
    server.app = Gate(behind, KEYS, {f"127.0.0.1:{server.port}"})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Served(server.port, behind)
    server.shutdown()
    thread.join()
    server.server_close()


def test_signed_request_reaches_the_application_with_its_body(served: Served) -> None:
    assert served.send() == (200, '{"Clusters": []}')
    assert served.behind.bodies == [BODY]


def test_client_of_boto3_is_passed_on_and_one_with_another_secret_is_not(served: Served) -> None:
    def list_clusters(secret: str) -> dict[str, Any]:
        emr = boto3.Session(KEYS.access_key, secret, region_name="eu-west-1").client(
            "emr", endpoint_url=f"http://127.0.0.1:{served.port}", config=Config(retries={"total_max_attempts": 1})
        )
        answer: dict[str, Any] = emr.list_clusters()
        return answer

    assert list_clusters(str(KEYS.secret_key))["Clusters"] == []
    with pytest.raises(ClientError, match="403"):
        list_clusters("another")
    assert len(served.behind.bodies) == 1


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("Host 'evil.example:4567' is not local AWS", {"Host": "evil.example:4567"}),
        ("Host '' is not local AWS", {"Host": " "}),
        ("Web pages cannot call local AWS", {"Origin": "http://evil.example"}),
        ("Web pages cannot call local AWS", {"Origin": "null"}),
        ("Web pages cannot call local AWS", {"Origin": "http://127.0.0.1:8080"}),
        ("The signature is not valid", {"Authorization": ""}),
        ("The signature is not valid", {"Authorization": "Bearer x"}),
        ("The signature is not valid", {"X_Amz_Target": "ElasticMapReduce.RunJobFlow"}),
    ],
)
def test_request_that_a_web_page_could_send_is_rejected(served: Served, sentence: str, changes: dict[str, str]) -> None:
    status, answer = served.send(**changes)

    assert (status, served.behind.bodies) == (403, [])
    assert sentence in answer


def test_preflight_is_rejected_without_permission_for_any_origin(served: Served) -> None:
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request(
        "OPTIONS", "/", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    answer = connection.getresponse()

    assert answer.status == 403
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]


def test_another_body_than_the_signed_one_is_rejected(served: Served) -> None:
    host = f"127.0.0.1:{served.port}"
    request = AWSRequest("POST", f"http://{host}/", data=BODY, headers={"Host": host})
    SigV4Auth(KEYS, "elasticmapreduce", "eu-west-1").add_auth(request)
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("POST", "/", json.dumps({"Marker": "y"}), dict(request.headers.items()))

    assert connection.getresponse().status == 403


def test_body_above_the_limit_is_rejected_unread(served: Served) -> None:
    status, _ = served.send(body=b"", Content_Length=str(MAX_BODY_BYTES + 1))

    assert status == 403
