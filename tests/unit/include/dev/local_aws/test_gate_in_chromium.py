"""A web page of another origin, in a real browser, cannot use local AWS."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from include.dev.local_aws.local import LocalAws

ATTACK = """async ([url, mode]) => {
    const body = JSON.stringify({Name: "attack", Instances: {}});
    const headers = mode === "cors" ? {"X-Amz-Target": "ElasticMapReduce.RunJobFlow"} : {};
    try {
        const answer = await fetch(url, {method: "POST", mode, headers, body});
        return `${answer.type} ${answer.status}`;
    } catch (error) {
        return String(error);
    }
}"""


@pytest.fixture
def evil_page(tmp_path: Path, page: Page) -> Iterator[Page]:
    """A page of another origin."""
    (tmp_path / "index.html").write_text("<!doctype html><title>evil</title>")
    with serving(partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as url:
        page.goto(f"{url}/index.html")
        yield page


def _clusters(aws: LocalAws) -> list[Any]:
    return aws.emr().list_clusters()["Clusters"]


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_page_of_another_origin_reads_nothing_and_starts_no_cluster(
    local_aws: LocalAws, evil_page: Page, variable: str
) -> None:
    before, url = _clusters(local_aws), local_aws.environment[variable]

    answers = [evil_page.evaluate(ATTACK, [url, mode]) for mode in ("cors", "no-cors")]

    assert answers[0] == "TypeError: Failed to fetch"
    assert answers[1] == "opaque 0"  # the page learns nothing of the answer
    assert _clusters(local_aws) == before


def test_page_after_dns_rebinding_is_rejected_by_its_host(local_aws: LocalAws, evil_page: Page) -> None:
    port = urlsplit(local_aws.environment["AWS_ENDPOINT_URL"]).port
    before = _clusters(local_aws)

    answer = evil_page.goto(f"http://evil.example:{port}/")

    assert answer
    assert (answer.status, "is not local AWS" in answer.text()) == (403, True)
    assert evil_page.evaluate(ATTACK, [f"http://evil.example:{port}/", "cors"]) == "basic 403"
    assert _clusters(local_aws) == before
