"""The command line `fruits`: output for people and as JSON, errors, and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import fruits_features
from fruits_features import __version__
from fruits_features.client import cli, extras
from fruits_features.client.published_run import PublishedRun
from fruits_features.contract import layout
from fruits_features.extraction.families.onnx import ModelError
from fruits_features.io.s3_access import S3AccessError
from fruits_features.projection import load
from tests.support.published_runs import COLOURS, NAME, photo, put_pointer

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws
    from tests.unit.fruits_features.client.conftest import Shop

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def lime(tmp_path: Path) -> str:
    file = tmp_path / "lime.png"
    file.write_bytes(photo("Lime"))
    return str(file)


def _json(output: str) -> Any:  # noqa: ANN401
    return json.loads(output)


def test_photos_are_recognised_with_two_decimals(shop: Shop, lime: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recognise", shop.uri, lime, "--top", "2"]) == 0

    name, first, second = capsys.readouterr().out.splitlines()
    assert name == lime
    probability, category = first.split()
    assert (category, len(probability)) == ("Lime", 4)
    assert second.split()[1] in COLOURS


def test_recognised_photos_as_json(shop: Shop, lime: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recognise", shop.uri, lime, "--json"]) == 0

    printed = _json(capsys.readouterr().out)
    assert printed["run"] == NAME
    assert printed["photos"][0]["photo"] == lime
    assert printed["photos"][0]["recognised"][0]["category"] == "Lime"
    assert sum(one["probability"] for one in printed["photos"][0]["recognised"]) == pytest.approx(1)


def test_one_bad_photo_does_not_hide_the_others(
    shop: Shop, lime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    photos = [str(text), str(tmp_path), str(tmp_path / "missing.jpg"), lime]

    assert cli.main(["recognise", shop.uri, *photos, "--top", "1"]) == 1

    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == lime
    assert printed.out.split()[2] == "Lime"
    bad, folder, missing = printed.err.splitlines()
    assert bad.startswith(f"fruits: {text}: decode: not_an_image: ")
    assert folder == f"fruits: {tmp_path}: Is a directory"
    assert missing == f"fruits: {tmp_path / 'missing.jpg'}: No such file or directory"


def test_one_bad_photo_has_its_error_in_json(
    shop: Shop, lime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["nearest", shop.uri, str(tmp_path), lime, "-k", "2", "--json"]) == 1

    printed = capsys.readouterr()
    bad, good = _json(printed.out)["photos"]
    assert bad == {"photo": str(tmp_path), "error": "Is a directory"}
    assert [one["category"] for one in good["nearest"]] == ["Lime", "Lime"]
    assert printed.err == ""


def test_nearest_are_printed_with_cosine_category_and_address(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    query = f"{shop.uri}/images/Training/Plum/1.png"

    assert cli.main(["nearest", shop.uri, query, "-k", "1"]) == 0

    assert capsys.readouterr().out.split() == [query, "1.000", "Plum", query]


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "utf-8:surrogateescape"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_names_that_the_terminal_cannot_show_are_escaped(
    shop: Shop, tmp_path: Path, encoding: str, options: list[str]
) -> None:
    names = [b"lime \xe9.png", "lime é.png".encode(), b"lime.png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(photo("Lime"))
    package = str(Path(fruits_features.__path__[0]).parent)

    ended = subprocess.run(
        [sys.executable, "-m", "fruits_features.client.cli", "recognise", shop.uri, "--top=1", *options, "--", *names],
        env={**os.environ, "PYTHONPATH": package, "PYTHONIOENCODING": encoding},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    if options:
        assert [os.fsencode(one["photo"]) for one in _json(ended.stdout.decode())["photos"]] == names
    else:
        assert ended.stdout.count(b"Lime") == len(names)


def test_runs_are_listed_the_newest_first(
    local_aws: LocalAws, bucket: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = "2026-11-20T08:00:00+00:00"
    put_pointer(local_aws.s3(), bucket, shop.pointer)
    put_pointer(
        local_aws.s3(),
        bucket,
        {**shop.pointer, "run": "a", "published_at": earlier},
        layout.DatasetLayout(bucket).publication(earlier, "a"),
    )

    assert cli.main(["runs", f"s3://{bucket}"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"2026-11-29 09:00:00Z  {NAME}", "2026-11-20 08:00:00Z  a"]
    assert cli.main(["runs", f"s3://{bucket}", "--json"]) == 0
    assert _json(capsys.readouterr().out)[1] == {"run": "a", "published_at": earlier}


def test_every_command_reads_the_named_data_set(market: str, lime: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("recognise", "nearest", "runs", "report"):
        photos = [lime] if command in {"recognise", "nearest"} else []

        assert cli.main([command, market, *photos, "--dataset", "citrus", "--json"]) == 0

        printed = _json(capsys.readouterr().out)
        assert (printed[0] if command == "runs" else printed)["run"] == "citrus-run"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "/features/latest.json: open another data set of this bucket (citrus), or run the DAG on this data set"),
        (
            ["--dataset", "citrsu"],
            "/features/datasets/citrsu/latest.json: open another data set of this bucket (citrus)",
        ),
        (["--dataset", "Citrus"], "'Citrus' is not the name of a data set: write 1 to 40 lowercase letters, digits"),
    ],
    ids=["default", "unknown", "no name"],
)
def test_unknown_data_set_is_one_line_that_names_the_known_ones(
    market: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["runs", market, *options]) == 1

    printed = capsys.readouterr()
    assert (printed.out, len(printed.err.splitlines())) == ("", 1)
    assert message in printed.err


def test_report_shows_figures_and_saves_the_page(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"

    assert cli.main(["report", shop.uri, "--run", NAME, "--output", str(page)]) == 0

    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["run"] == NAME
    assert (printed["images"], printed["categories"], printed["recogniser"]) == ("30", "3", "yes")
    assert printed["report"] == str(page)
    assert page.read_text() == "<!doctype html>"


def test_report_as_json_is_the_pointer(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", shop.uri, "--json"]) == 0

    assert _json(capsys.readouterr().out)["paths"] == shop.pointer["paths"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "fruits/images"], "'fruits/images' is not the address of a bucket; write s3://<bucket>."),
        (["runs", "s3://fruits-of-nobody"], "There is no s3://fruits-of-nobody/features/latest.json: run the DAG"),
        (["report", "SHOP", "--run", "a"], "does not contain the run 'a'. Its published runs, newest first: "),
        (["recognise", "SHOP", "photo.jpg", "--as-of", "noon"], "as_of='noon' is not a time"),
    ],
)
def test_run_that_cannot_be_used_is_one_line(
    shop: Shop, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([shop.uri if word == "SHOP" else word for word in arguments]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("fruits: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_run_without_a_recogniser_is_reported_once(
    local_aws: LocalAws, bucket: str, shop: Shop, lime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {name: path for name, path in shop.pointer["paths"].items() if name != "recogniser"}
    put_pointer(local_aws.s3(), bucket, {**shop.pointer, "paths": paths})

    assert cli.main(["recognise", f"s3://{bucket}", lime, lime]) == 1

    assert capsys.readouterr().err.count("has no recogniser") == 1


def test_damaged_table_is_reported_once_and_not_as_an_error_of_a_photo(
    local_aws: LocalAws, bucket: str, shop: Shop, lime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = f"s3://{bucket}/missing"
    put_pointer(local_aws.s3(), bucket, {**shop.pointer, "paths": {**shop.pointer["paths"], "features": table}})

    assert cli.main(["nearest", f"s3://{bucket}", lime, lime]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"fruits: The run {NAME} lacks {table}; restore")
    assert printed.err.count("\n") == 1


def test_unusable_model_is_reported_once(
    shop: Shop, lime: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def recognise(*_: object) -> NoReturn:
        raise ModelError("There is no ONNX model s3://fruits/models/network.onnx.")

    monkeypatch.setattr(PublishedRun, "recognise", recognise)

    assert cli.main(["recognise", shop.uri, lime, lime, "--json"]) == 1

    assert capsys.readouterr() == ("", "fruits: There is no ONNX model s3://fruits/models/network.onnx.\n")


def test_missing_extra_is_reported_once_with_its_command(
    shop: Shop, lime: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "cv2" else object())

    assert cli.main(["recognise", shop.uri, lime, lime]) == 1

    assert capsys.readouterr().err == (
        "fruits: This needs cv2, which the extra embed installs: pip install 'fruits-features[embed]'\n"
    )


def test_report_that_cannot_be_saved_names_the_file(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "missing" / "page.html"

    assert cli.main(["report", shop.uri, "--output", str(page)]) == 1

    assert capsys.readouterr().err == f"fruits: {page}: No such file or directory\n"


def test_stopped_server_is_reported_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

    assert cli.main(["runs", shop.uri]) == 1

    assert capsys.readouterr().err == (
        "fruits: No server answers at http://127.0.0.1:1: start it, or correct AWS_ENDPOINT_URL.\n"
    )


@pytest.mark.parametrize(
    "address", ["localhost:9000", "127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999", "ftp://127.0.0.1"]
)
def test_endpoint_that_is_no_url_is_one_line(
    address: str, shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    sentence = f"AWS_ENDPOINT_URL={address!r} is not a URL: write http://<host>:<port>."

    assert cli.main(["runs", shop.uri]) == 1
    with pytest.raises(S3AccessError) as failed:
        load(f"{shop.uri}/projection.npz")

    assert capsys.readouterr().err == f"fruits: {sentence}\n"
    assert str(failed.value) == sentence


@pytest.mark.parametrize("command", ["recognise", "nearest", "runs"])
def test_user_without_a_home_folder_needs_none(shop: Shop, lime: str, tmp_path: Path, command: str) -> None:
    photos = [] if command == "runs" else [lime]
    unknown_user = "import pwd; pwd.getpwuid = {}.__getitem__"  # as in a container with another user
    call = f"import sys; from fruits_features.client import cli; sys.exit(cli.main({[command, shop.uri, *photos]!r}))"
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    profile = tmp_path / "credentials"
    profile.write_text("\n".join(["[default]", *(f"{name.lower()} = {value}" for name, value in keys.items())]))
    environment = {name: value for name, value in os.environ.items() if name not in {"HOME", *keys}}
    package = str(Path(fruits_features.__path__[0]).parent)

    ended = subprocess.run(
        [sys.executable, "-c", f"{unknown_user}; {call}"],
        env={**environment, "PYTHONPATH": package, "AWS_SHARED_CREDENTIALS_FILE": str(profile)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (NAME if command == "runs" else "Lime") in ended.stdout


def test_reader_that_stops_early_is_no_error(shop: Shop) -> None:
    """As `head -1`, which closes its end of the pipe."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "fruits_features.client.cli", "runs", shop.uri],
            env={**os.environ, "PYTHONPATH": str(Path(fruits_features.__path__[0]).parent)},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (ended.returncode, ended.stderr) == (1, "")


def test_missing_credentials_are_one_line(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    metadata = {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:1", "HOME": str(tmp_path)}

    ended = subprocess.run(
        [sys.executable, "-m", "fruits_features.client.cli", "runs", "s3://fruits"],
        env={**environment, **metadata, "PYTHONPATH": str(Path(fruits_features.__path__[0]).parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        "fruits: s3://fruits/ cannot be read: there are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY.\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["recognize"], ["recognise", "s3://fruits"], ["recognise", "s3://fruits", "a.jpg", "--top", "0"]],
)
def test_invalid_arguments_have_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    assert ended.value.code == 2


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])

    assert capsys.readouterr().out == f"fruits {__version__}\n"
