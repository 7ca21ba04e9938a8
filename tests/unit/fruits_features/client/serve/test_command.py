"""The command `fruits serve`, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fruits_features.client import cli
from tests.support.published_runs import COLOURS, photo

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = re.compile(r"http://localhost:\d+/")
TIMEOUT_S = 60


@contextmanager
def served(bucket: str, environment: dict[str, str], *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the command on a free port, and yield the page's URL and the process."""
    command = [sys.executable, "-m", "fruits_features.client.cli", "serve", bucket, "--port", "0", *options]
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        found = ADDRESS.match(process.stdout.readline())
        assert found, process.communicate(timeout=TIMEOUT_S)
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


def test_published_run_recognises_photos_until_ctrl_c(shop: Any, aws_environment: dict[str, str]) -> None:  # noqa: ANN401
    with served(shop.uri, aws_environment) as (url, process):
        answers = {
            category: httpx.post(f"{url}recognise?pictures=true", content=photo(category), timeout=TIMEOUT_S).json()
            for category in COLOURS
        }
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)

    for category, answer in answers.items():
        assert answer["run"] == shop.pointer["run"]
        assert answer["categories"][0]["category"] == category
        assert {near["category"] for near in answer["neighbours"]} == {category}
        assert all(near["path"].startswith(f"{shop.uri}/images/Training/{category}/") for near in answer["neighbours"])
        assert all(near["picture"].startswith("data:image/webp;base64,") for near in answer["neighbours"])
    assert (process.returncode, errors) == (0, "")


def test_named_data_set_is_served(market: str, aws_environment: dict[str, str]) -> None:
    with served(market, aws_environment, "--dataset", "citrus") as (url, _):
        answer = httpx.get(f"{url}status", timeout=TIMEOUT_S).json()

    assert answer["run"] == "citrus-run"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "fruits.example"])  # noqa: S104 - refused
def test_address_that_other_machines_reach_needs_the_option_that_says_so(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", "s3://fruits", "--host", host]) == 1

    error = capsys.readouterr().err
    assert f"Other machines reach --host {host}, and there is no password" in error
    assert "Add --share if that is intended." in error


def test_bucket_without_a_run_is_named_before_the_page_is_served(
    bucket: str, aws_environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert aws_environment

    assert cli.main(["serve", f"s3://{bucket}", "--port", "0"]) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert f"There is no s3://{bucket}/features/latest.json: run the DAG on this bucket first" in output.err


def test_port_in_use_is_named(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401
    import socket

    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", shop.uri, "--port", str(port)]) == 1

    sentence = f"Port {port} cannot be used (Address already in use). Choose another one with --port"
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("host", ["192.0.2.1", "fruits.invalid", ""])
def test_address_of_another_machine_is_named(host: str, shop: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401
    assert cli.main(["serve", shop.uri, "--host", host, "--share", "--port", "0"]) == 1

    assert capsys.readouterr().err == f"fruits: --host {host!r} is not an address of this machine.\n"


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_port_outside_its_range_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "s3://fruits", "--port", port])

    assert "is not a port from 0 to 65535" in capsys.readouterr().err


def test_photos_per_minute_are_an_option(shop: Any, aws_environment: dict[str, str]) -> None:  # noqa: ANN401
    with served(shop.uri, aws_environment, "--photos-per-minute", "2") as (url, _):
        answers = [httpx.post(f"{url}recognise", content=photo("Lime"), timeout=TIMEOUT_S) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["error"].startswith("More than 2 photos a minute; try again in ")


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "1000001"])
def test_photos_per_minute_outside_their_range_are_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "s3://fruits", f"--photos-per-minute={number}"])

    assert ended.value.code == 2
    assert f"{number!r} is not a number of photos from 1 to 1000000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("proxies", "statuses"),
    [(["--trusted-proxy", "::1", "--trusted-proxy", "127.0.0.0/8"], [200, 200, 429]), ([], [200, 429, 429])],
)
def test_visitors_behind_a_trusted_proxy_have_limits_of_their_own(
    shop: Any,  # noqa: ANN401
    aws_environment: dict[str, str],
    proxies: list[str],
    statuses: list[int],
) -> None:
    visitors = ["192.0.2.1", "192.0.2.2", "made-up, 192.0.2.2"]
    with served(shop.uri, aws_environment, "--photos-per-minute", "1", *proxies) as (url, _):
        answers = [
            httpx.post(
                f"{url}recognise", content=photo("Lime"), headers={"X-Forwarded-For": visitor}, timeout=TIMEOUT_S
            )
            for visitor in visitors
        ]

    assert [answer.status_code for answer in answers] == statuses


@pytest.mark.parametrize("proxy", ["*", "proxy.example", "10.0.0.1/24", ""])
def test_proxy_that_is_no_address_is_refused(proxy: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "s3://fruits", f"--trusted-proxy={proxy}"])

    assert ended.value.code == 2
    assert f"{proxy!r} is not an IP address or a network such as 10.0.0.0/24" in capsys.readouterr().err
