"""The HTTP interface: answers, limits, errors, and requests of other sites."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import validate

from fruits_features.client.serve import recognition
from fruits_features.client.serve.application import application
from fruits_features.client.serve.limits import Limits
from fruits_features.client.serve.service import Service
from fruits_features.contract.errors import RunError
from fruits_features.contract.rejections import FORMATS
from include.dev import http_interface
from tests.support.openapi import check_answer
from tests.support.small_runs import photograph

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    Serve = Callable[..., TestClient]

PHOTO = photograph(0)


class DescribedClient(TestClient):
    """A client that compares every answer with the OpenAPI document of the server."""

    def request(self, method: str, url: Any, **options: Any) -> Any:  # noqa: ANN401
        answer = super().request(method, url, **options)
        if method != "HEAD":  # without a body
            request = method, answer.request.url.path
            check_answer(self.app.openapi(), request, answer.status_code, answer.headers, answer.content)  # type: ignore[attr-defined]
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def serve(memory: Any, clock: Clock, in_process: None) -> Serve:  # noqa: ANN401, ARG001
    """Return a function that serves the bucket with changed limits."""

    def started(**limits: float) -> TestClient:
        service = Service(memory.source, Limits(**limits), clock)  # type: ignore[arg-type]
        app = application(service, ("localhost",))
        app.state.service = service
        return DescribedClient(app, base_url="http://localhost")

    return started


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()


def error_of(response: Any) -> tuple[int, str]:  # noqa: ANN401
    return response.status_code, response.json()["error"]


def test_photo_is_answered_with_categories_and_neighbours(client: TestClient) -> None:
    answer = client.post("/recognise?top=2", content=PHOTO)

    assert answer.status_code == 200
    assert answer.json()["run"] == "first"
    assert [one["category"] for one in answer.json()["categories"]] == ["Lime", "Apple"]
    assert [one["probability"] for one in answer.json()["categories"]] == pytest.approx([0.7, 0.2])
    assert answer.json()["neighbours"][0] == {
        "path": "s3://fruits/images/Training/Lime/first-0.png",
        "category": "Lime",
        "cosine": 0.9,
    }
    assert len(answer.json()["neighbours"]) == 5
    assert answer.headers["Cache-Control"] == "no-store"


def test_pictures_are_small_and_only_those_of_neighbours(client: TestClient, memory: Any) -> None:  # noqa: ANN401
    lime = "s3://fruits/images/Training/Lime"
    memory.images |= {f"{lime}/first-0.png": photograph(1, 600), f"{lime}/first-1.png": b"no image", "other": PHOTO}

    neighbours = client.post("/recognise?pictures=true", content=PHOTO).json()["neighbours"]

    picture = neighbours[0]["picture"]
    assert picture.startswith("data:image/webp;base64,")
    assert len(b64decode(picture.partition(",")[2])) < 10_000
    assert [one["picture"] for one in neighbours[1:]] == [None] * 4


@pytest.mark.parametrize("is_late", [False, True])
def test_picture_that_fails_or_is_late_is_left_out(serve: Serve, memory: Any, *, is_late: bool) -> None:  # noqa: ANN401
    answered = Event()

    class Images(dict[str, bytes]):
        def get(self, path: str, default: object = None) -> Any:  # noqa: ANN401
            if not path.endswith("first-0.png"):
                return super().get(path, default)
            assert not is_late or answered.wait(30)
            raise OSError("S3 does not answer")

    lime = "s3://fruits/images/Training/Lime"
    memory.images = Images({f"{lime}/first-1.png": photograph(1)})
    client = serve(pictures_s=0.5)

    answer = client.post("/recognise?pictures=true", content=PHOTO)
    answered.set()

    assert answer.status_code == 200
    assert [one["picture"] is not None for one in answer.json()["neighbours"]] == [False, True, False, False, False]


def test_other_method_is_answered_with_those_that_are_allowed(client: TestClient) -> None:
    assert client.put("/recognise", content=PHOTO).headers["Allow"] == "POST"


def test_status_names_run_and_limits(client: TestClient) -> None:
    assert client.get("/status").json() == {
        "run": "first",
        "categories": 3,
        "max_bytes": 25 * 2**20,
        "max_pixels": 52_000_000,
    }


def test_description_is_valid_and_the_one_of_the_reference(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    validate(document)
    assert document["openapi"].startswith("3.1.")
    assert document.keys() == {"openapi", "info", "paths", "components"}
    assert http_interface.FILE.read_text(encoding="utf-8") == http_interface.render(), "stale: run `make docs`"
    assert json.loads(http_interface.render()) == document


def test_description_has_the_limits_of_the_server() -> None:
    recognise = json.loads(http_interface.render())["paths"]["/recognise"]["post"]
    top, pictures = (parameter["schema"] for parameter in recognise["parameters"])
    texts = {status: answer["description"] for status, answer in recognise["responses"].items()}

    assert (top["minimum"], top["maximum"], top["default"], pictures["default"]) == (1, 1000, 5, False)
    assert "25 MiB and 52,000,000 pixels" in recognise["requestBody"]["description"]
    assert (texts["408"], texts["504"]) == (
        "The photo did not arrive within 30 seconds.",
        "The photo took longer than 30 seconds to decode.",
    )
    assert texts["429"].startswith("More than 30 photos a minute ")


def test_health_does_not_need_a_run(client: TestClient, memory: Any) -> None:  # noqa: ANN401
    memory.error = ValueError("damaged")

    assert client.get("/health").json() == {"status": "ok"}
    assert memory.opened == []


@pytest.mark.parametrize(
    ("content", "status", "reason", "sentence"),
    [
        (b"", 400, "empty", "The file has no bytes."),
        (b"hello", 415, "not_an_image", f"The file is not a {FORMATS} file: it starts with 68 65 6c 6c 6f."),
        (PHOTO[: len(PHOTO) // 2], 422, "truncated", "The png image continues after"),
        (b"!unsupported_format", 415, "unsupported_format", "Rejected by the test."),
        (b"!decoder_timeout", 504, "decoder_timeout", "Rejected by the test."),
        (b"!decoder_crash", 422, "decoder_crash", "Rejected by the test."),
    ],
)
def test_unusable_photo_is_explained(
    client: TestClient, content: bytes, status: int, reason: str, sentence: str
) -> None:
    answer = client.post("/recognise", content=content)

    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.json()["error"].startswith(sentence)


def test_photo_with_too_many_pixels_is_refused(serve: Serve) -> None:
    answer = error_of(serve(max_pixels=500).post("/recognise", content=PHOTO))

    assert answer == (413, "The image has 24 x 24 pixels; the limit is 500.")


def test_form_is_refused(client: TestClient) -> None:
    answer = error_of(client.post("/recognise", files={"photo": PHOTO}))

    assert answer == (415, "Send the photo itself as the body of the request, not a form.")


def test_form_is_refused_by_its_type_in_any_letter_case(client: TestClient) -> None:
    headers = {"Content-Type": "Multipart/Form-Data; boundary=b"}

    answer = error_of(client.post("/recognise", content=b"--b", headers=headers))

    assert answer == (415, "Send the photo itself as the body of the request, not a form.")


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing", 404, "Not Found."),
        ("GET", "/recognise", 405, "Method Not Allowed."),
        ("POST", "/recognise?top=0", 422, "top: Input should be greater than or equal to 1."),
        ("POST", "/recognise?pictures=maybe", 422, "pictures: Input should be a valid boolean"),
    ],
)
def test_request_that_the_interface_does_not_have_is_explained(
    client: TestClient, method: str, path: str, status: int, sentence: str
) -> None:
    answer = error_of(client.request(method, path))

    assert answer[0] == status
    assert answer[1].startswith(sentence)


def test_fault_is_an_error_with_the_security_headers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "current", lambda *_: 1 / 0)

    answer = DescribedClient(serve().app, "http://localhost", raise_server_exceptions=False).get("/status")

    assert error_of(answer) == (500, "The server failed. Its log contains the reason.")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/page.css", "/status", "/health"])
def test_head_has_the_headers_of_get(client: TestClient, path: str) -> None:
    answer = client.head(path)

    assert (answer.status_code, answer.headers) == (200, client.get(path).headers)


def test_body_above_the_limit_is_refused_by_its_length(serve: Serve) -> None:
    answer = serve(max_bytes=2**20).post("/recognise", content=bytes(2**20 + 1))

    assert answer.status_code == 413
    assert answer.json() == {"error": "The photo is larger than 1 MiB.", "reason": "too_many_bytes"}


async def _status_of(app: Any, receive: Callable[[], Any], **headers: str) -> list[MutableMapping[str, Any]]:  # noqa: ANN401
    """Send a request message by message, and return the messages of the answer."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/recognise",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in headers.items())],
        "client": ("192.0.2.1", 1),
    }
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    check_answer(app.openapi(), ("POST", "/recognise"), sent[0]["status"], headers, sent[1]["body"])
    return sent


def test_body_without_a_length_is_read_up_to_the_limit(serve: Serve) -> None:
    received = []

    async def receive() -> dict[str, Any]:
        received.append(2**19)
        return {"type": "http.request", "body": bytes(2**19), "more_body": True}

    messages = asyncio.run(_status_of(serve(max_bytes=2**20).app, receive))

    assert messages[0]["status"] == 413
    assert len(received) == 3


def test_body_that_does_not_arrive_is_refused(serve: Serve) -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {}

    messages = asyncio.run(_status_of(serve(body_s=0.05).app, receive))

    assert messages[0]["status"] == 408


def test_interrupted_body_frees_its_place(serve: Serve) -> None:
    client = serve(concurrent=1)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    messages = asyncio.run(_status_of(client.app, receive))

    assert messages[0]["status"] == 400
    assert client.post("/recognise", content=PHOTO).status_code == 200


def test_client_above_its_rate_is_told_when_to_come_back(serve: Serve, clock: Clock) -> None:
    client = serve(per_minute=2)
    for _ in range(2):
        assert client.post("/recognise", content=PHOTO).status_code == 200

    refused = client.post("/recognise", content=PHOTO)

    assert error_of(refused) == (429, "More than 2 photos a minute; try again in 30 seconds.")
    assert refused.headers["Retry-After"] == "30"
    clock.now += 31
    assert client.post("/recognise", content=PHOTO).status_code == 200


def test_run_that_fails_while_it_recognises_is_answered_with_the_reason(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(*_: object) -> None:
        raise RunError("The model could not be loaded.")

    monkeypatch.setattr(recognition.Worker, "embed", embed)

    assert error_of(client.post("/recognise", content=PHOTO)) == (503, "The model could not be loaded.")


def test_request_above_the_bound_is_refused_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(concurrent=2)
    assert client.get("/status").status_code == 200
    release = Event()

    def embed(*_: object) -> Any:  # noqa: ANN401
        release.wait(30)
        raise AssertionError

    monkeypatch.setattr(recognition.Worker, "embed", embed)
    with ThreadPoolExecutor(3) as threads:
        requests = [threads.submit(client.post, "/recognise", content=PHOTO) for _ in range(3)]
        first = next(as_completed(requests, timeout=30))
        release.set()
        assert all(other.exception() for other in requests if other is not first)

    refused = first.result()
    assert refused.status_code == 429
    assert error_of(refused)[1].startswith("Too many photos are being recognised")
    assert refused.headers["Retry-After"] == "1"


def test_turn_that_does_not_come_in_time_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(answer_s=0.1)
    assert client.get("/status").status_code == 200
    release = Event()
    monkeypatch.setattr("fruits_features.client.serve.service._recognise", lambda *_: release.wait(30) and ([], []))

    answer = error_of(client.post("/recognise", content=PHOTO))
    release.set()

    assert answer == (503, "The server is busy; try again in some seconds.")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://[::1"},
    ],
)
def test_photo_from_a_page_of_another_site_is_refused(client: TestClient, memory: Any, headers: dict[str, str]) -> None:  # noqa: ANN401
    answer = client.post("/recognise", content=PHOTO, headers=headers)

    assert error_of(answer) == (403, "Pages of other sites cannot send photos.")
    assert memory.opened == []


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {}])
def test_photo_from_the_own_page_or_a_program_is_recognised(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/recognise", content=PHOTO, headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "[::1"])
@pytest.mark.parametrize("path", ["/", "/status", "/health", "/page.js"])
def test_foreign_host_is_refused(client: TestClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})

    assert answer.status_code == 403
    assert "is not a name of this server" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "192.0.2.7:8000", "[2001:db8::1]:8000"])
def test_own_name_and_addresses_are_accepted(client: TestClient, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/page.js"), ("GET", "/nothing"), ("PUT", "/recognise")]
)
def test_every_answer_has_the_security_headers_and_none_allows_other_origins(
    client: TestClient, method: str, path: str
) -> None:
    headers = client.request(method, path, headers={"Origin": "http://evil.example"}).headers

    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_only_files_of_the_page_are_served(client: TestClient) -> None:
    assert client.get("/page.css").headers["Content-Type"] == "text/css; charset=utf-8"
    for path in ("/limits.py", "/page.html", "/..%2flimits.py", "/pictures/1"):
        assert client.get(path).status_code == 404


def test_newer_run_replaces_the_earlier_one_without_waiting(client: TestClient, memory: Any, clock: Clock) -> None:  # noqa: ANN401
    assert client.get("/status").json()["run"] == "first"
    memory.pointer = "second"
    assert client.get("/status").json()["run"] == "first"
    clock.now += 11

    names = {client.get("/status").json()["run"]}
    deadline = time.monotonic() + 30
    while "second" not in names and time.monotonic() < deadline:
        names.add(client.get("/status").json()["run"])

    assert "second" in names
    assert memory.opened == ["first", "second"]
    assert client.post("/recognise", content=PHOTO).json()["run"] == "second"


def test_run_is_read_again_only_when_the_pointer_changes(client: TestClient, memory: Any, clock: Clock) -> None:  # noqa: ANN401
    for _ in range(5):
        assert client.get("/status").status_code == 200
        clock.now += 11

    assert memory.opened == ["first"]


def test_damaged_newer_run_is_logged_and_the_earlier_one_stays(
    client: TestClient,
    memory: Any,  # noqa: ANN401
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert client.get("/status").status_code == 200
    memory.pointer, memory.error = "second", KeyError("features")
    for _ in range(3):
        clock.now += 11
        assert client.post("/recognise", content=PHOTO).json()["run"] == "first"
        _settle(client)

    assert "Run first stays in use, because the published run fails: 'features'" in caplog.text
    assert memory.opened == ["first", "second"]  # tried again after a minute only
    memory.error = None
    clock.now += 61
    assert client.get("/status").status_code == 200
    _settle(client)
    assert client.get("/status").json()["run"] == "second"


def _settle(client: TestClient) -> None:
    """Wait until the reading of `latest.json` in progress has ended."""
    client.app.state.service.follower.refresh().exception(30)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("s3://fruits/features/latest.json is damaged."), "s3://fruits/features/latest.json is damaged."),
        (
            FileNotFoundError("There is no s3://fruits/features/latest.json."),
            "There is no s3://fruits/features/latest.json.",
        ),
        (
            ModuleNotFoundError("No module named 'cv2'", name="cv2"),
            "The published run needs the package cv2, which is not installed on this server.",
        ),
        (KeyError("secret"), "The published run cannot be loaded. The log of this server contains the reason."),
    ],
)
def test_run_that_cannot_be_used_is_explained_and_not_read_for_every_visitor(
    client: TestClient,
    memory: Any,  # noqa: ANN401
    clock: Clock,
    error: Exception,
    sentence: str,
) -> None:
    memory.error = error

    answers = [error_of(client.get("/status")), error_of(client.post("/recognise", content=PHOTO))]

    assert answers == [(503, sentence)] * 2
    assert memory.opened == ["first"]
    memory.error = None
    clock.now += 11
    assert client.get("/status").json()["run"] == "first"


def test_visitor_during_the_first_loading_is_asked_to_come_back(serve: Serve, memory: Any) -> None:  # noqa: ANN401
    release = Event()
    opened = memory.open
    memory.open = lambda pointer: release.wait(30) and opened(pointer)
    client = serve(answer_s=0.05)

    answer = error_of(client.get("/status"))
    release.set()
    _settle(client)

    assert answer == (503, "The published run is being loaded; try again in some seconds.")
    assert client.get("/status").status_code == 200
