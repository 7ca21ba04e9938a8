"""The uploader against a real S3 server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pyarrow as pa
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, TokenRetrievalError
from obstore.exceptions import PermissionDeniedError

from include.deploy.image_files import UploadError, find_files
from include.deploy.upload_images import Outcome, Summary, main, parse_destination, upload
from include.inventory.image_filter import ImageFilter
from tests.support.buckets import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from tests.unit.include.deploy.conftest import S3Server

ROOT = Path(__file__).resolve().parents[4]
UGLY = ["Pâté en croûte/1 2.jpg", "a#b/100%.jpg", "c+d/%20.jpg", "e&f=g/h?.jpg", "[x]{y}~/z*'\".jpg", "back\\slash.jpg"]


def make_files(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content of {name}".encode())
    return folder


def counts(summary: Summary) -> tuple[int, int, int]:
    return (summary.counts[Outcome.UPLOADED], summary.counts[Outcome.SKIPPED], summary.counts[Outcome.FAILED])


def keys(s3: S3Server) -> list[str]:
    return [entry["Key"] for entry in s3.client.list_objects_v2(Bucket="fruits").get("Contents", [])]


def test_upload_keeps_special_characters_and_content(tmp_path: Path, s3: S3Server) -> None:
    folder = make_files(tmp_path / "in", UGLY)
    assert counts(upload(folder, "s3://fruits/images/", progress=False)) == (len(UGLY), 0, 0)
    assert sorted(keys(s3)) == sorted(f"images/{name}" for name in UGLY)
    for name in UGLY:
        found = s3.client.get_object(Bucket="fruits", Key=f"images/{name}")
        assert found["Body"].read() == (folder / name).read_bytes()
        assert found["ContentType"] == "image/jpeg"


def test_second_upload_sends_only_changed_files(tmp_path: Path, s3: S3Server) -> None:
    folder = make_files(tmp_path / "in", ["same.jpg", "longer.jpg", "other.jpg"])
    upload(folder, "s3://fruits/images/", progress=False)
    (folder / "longer.jpg").write_bytes(b"longer than before, by far")
    (folder / "other.jpg").write_bytes(b"CONTENT of other.jpg")
    assert counts(upload(folder, "s3://fruits/images", progress=False)) == (2, 1, 0)
    assert s3.client.get_object(Bucket="fruits", Key="images/other.jpg")["Body"].read() == b"CONTENT of other.jpg"


@pytest.mark.parametrize("s3", ["SHA1"], indirect=True)
def test_second_upload_skips_by_metadata_where_the_etag_is_no_md5(tmp_path: Path, s3: S3Server) -> None:
    folder = make_files(tmp_path / "in", ["same.jpg", "other.jpg"])
    upload(folder, "s3://fruits/images/", progress=False)
    (folder / "other.jpg").write_bytes(b"CONTENT of other.jpg")
    assert counts(upload(folder, "s3://fruits/images/", progress=False)) == (1, 1, 0)
    assert s3.client.get_object(Bucket="fruits", Key="images/other.jpg")["Body"].read() == b"CONTENT of other.jpg"


@pytest.mark.parametrize("s3", ["MD5", "SHA1"], indirect=True)
def test_large_file_goes_in_parts_and_is_skipped_the_second_time(tmp_path: Path, s3: S3Server) -> None:
    folder = make_files(tmp_path / "in", [])
    folder.mkdir()
    (folder / "large.bin").write_bytes(os.urandom(9 * 1024 * 1024))
    assert counts(upload(folder, "s3://fruits/", progress=False)) == (1, 0, 0)
    assert s3.client.head_object(Bucket="fruits", Key="large.bin")["ContentLength"] == 9 * 1024 * 1024
    assert counts(upload(folder, "s3://fruits/", progress=False)) == (0, 1, 0)


def test_system_files_are_left_out_and_counted(
    tmp_path: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_files(tmp_path / "in", ["fig.jpg", ".DS_Store", "a/.DS_Store", ".git/config"])
    assert main([str(folder), "s3://fruits/"]) == 0
    assert keys(s3) == ["fig.jpg"]
    assert "left out 3 system files or folders" in capsys.readouterr().err


def test_failing_file_is_named_and_does_not_stop_the_others(
    tmp_path: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_files(tmp_path / "in", ["a.jpg", "c.jpg"])
    (folder / "b.jpg").symlink_to(tmp_path / "nowhere")
    assert main([str(folder), "s3://fruits/images/"]) == 1
    assert sorted(keys(s3)) == ["images/a.jpg", "images/c.jpg"]
    captured = capsys.readouterr()
    assert "upload_images: images/b.jpg: [Errno 2] No such file" in captured.err
    assert "2 uploaded, 0 skipped, 1 failed" in captured.out


def test_linked_folders_are_followed_and_loops_are_not(
    tmp_path: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_files(tmp_path / "in", ["Limes/1.jpg"])
    make_files(tmp_path / "elsewhere", ["2.jpg", "more/3.jpg"])
    (folder / "Kiwi").symlink_to(tmp_path / "elsewhere")
    (folder / "Test").mkdir()
    (folder / "Test" / "Limes").symlink_to(folder / "Limes")
    (folder / "Limes" / "up").symlink_to(folder)
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")

    assert main([str(folder), "s3://fruits/"]) == 0
    assert sorted(keys(s3)) == ["Kiwi/2.jpg", "Kiwi/more/3.jpg", "Limes/1.jpg", "Test/Limes/1.jpg"]
    assert "left out 3 links to a folder that contains them" in capsys.readouterr().err


def test_unreadable_folder_fails_the_upload_but_not_the_others(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_files(tmp_path / "in", ["Limes/1.jpg", "Kiwi/2.jpg", "Kiwi/more/3.jpg"])
    listdir = os.listdir

    def deny(path: str | Path) -> list[str]:  # root may read every folder
        if Path(path).name == "Kiwi":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", deny)

    assert main([str(folder), "s3://fruits/images/"]) == 1
    assert keys(s3) == ["images/Limes/1.jpg"]
    captured = capsys.readouterr()
    assert "upload_images: images/Kiwi/: the folder cannot be read: [Errno 13] Permission denied" in captured.err
    assert "1 uploaded, 0 skipped, 1 failed" in captured.out


def test_files_that_cannot_become_objects_fail_with_the_reason(
    tmp_path: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_files(tmp_path / "in", ["1.jpg", "a\tb.jpg"])
    os.mkfifo(folder / "pipe.jpg")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"image")

    assert main([str(folder), "s3://fruits/"]) == 1
    assert keys(s3) == ["1.jpg"]
    captured = capsys.readouterr()
    assert "upload_images: a\tb.jpg: the key contains '\\t'; rename the file" in captured.err
    assert "upload_images: \\udcff.jpg: the name is not UTF-8; rename the file" in captured.err
    assert "upload_images: pipe.jpg: it is not a regular file" in captured.err
    assert "1 uploaded, 0 skipped, 3 failed" in captured.out


def test_uploader_and_inventory_agree_on_what_is_an_image(tmp_path: Path) -> None:
    names = [
        "1.jpg",
        "Limes/._1.jpg",
        "Limes/2",
        "Thumbs.db",
        "__MACOSX/1.jpg",
        "a/_SUCCESS",
        "notes.txt",
        "x_$folder$",
    ]
    found = find_files(make_files(tmp_path, names), "images/")
    listed = pa.RecordBatch.from_pydict({"key": [f"images/{name}" for name in names], "size": [1] * len(names)})

    images, left_out = ImageFilter("images/").apply(listed)

    assert sorted(images["key"].to_pylist()) == [file.key for file in found.files]
    assert left_out.total() == found.left_out.total() == 5


def test_missing_bucket_is_one_sentence(tmp_path: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert s3.root.exists()
    folder = make_files(tmp_path / "in", ["a.jpg"])
    assert main([str(folder), "s3://nowhere/images/"]) == 1
    assert capsys.readouterr().err.strip() == (
        "upload_images: error: bucket nowhere does not exist; create it, or correct the address"
    )


def test_wrong_key_is_one_sentence(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert s3.root.exists()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    folder = make_files(tmp_path / "in", ["a.jpg"])
    assert main([str(folder), "s3://fruits/images/"]) == 1
    assert "error: access to bucket fruits is denied" in capsys.readouterr().err


def test_no_credentials_is_one_sentence(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert s3.root.exists()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    folder = make_files(tmp_path / "in", ["a.jpg"])
    assert main([str(folder), "s3://fruits/images/"]) == 1
    assert capsys.readouterr().err.strip().startswith("upload_images: error: No AWS credentials were found: ")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ClientError({"Error": {"Code": "400", "Message": "Bad Request"}}, "HeadBucket"),
            "S3 refuses the credentials, which have probably expired; sign in again (400)",
        ),
        (
            TokenRetrievalError(provider="sso", error_msg="Token has expired."),
            "The sign-in has expired: Error when retrieving token from sso: Token has expired. Run `aws sso login`.",
        ),
    ],
)
def test_expired_credentials_are_one_sentence_with_the_fix(
    tmp_path: Path,
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    folder = make_files(tmp_path / "in", ["a.jpg"])

    assert main([str(folder), "s3://fruits/images/"]) == 1

    assert capsys.readouterr().err == f"upload_images: error: {sentence}\n"


def test_profile_gives_endpoint_and_credentials(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        f"[profile fruits]\nregion = eu-west-3\nendpoint_url = {s3.address}\n"
        f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "fruits")
    assert counts(upload(make_files(tmp_path / "in", ["a.jpg"]), "s3://fruits/", progress=False)) == (1, 0, 0)


def test_denied_put_stops_with_one_sentence(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionDeniedError("403 Forbidden\nand much more")

    monkeypatch.setattr(obstore, "put", deny)
    assert main([str(make_files(tmp_path / "in", ["a.jpg"])), "s3://fruits/"]) == 1
    assert "error: access to a.jpg is denied; allow s3:PutObject (403 Forbidden)" in capsys.readouterr().err
    assert keys(s3) == []


def test_folder_without_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "s3://fruits/"]) == 1
    assert capsys.readouterr().err.strip() == f"upload_images: error: {tmp_path} has no file to upload"
    assert main([str(tmp_path / "nowhere"), "s3://fruits/"]) == 1
    assert capsys.readouterr().err.strip() == f"upload_images: error: {tmp_path / 'nowhere'} is not a folder"


@pytest.mark.parametrize("destination", ["fruits/images", "s3://", "s3:///images", "https://fruits"])
def test_destination_must_be_an_s3_address(destination: str) -> None:
    with pytest.raises(UploadError, match="is not an S3 address"):
        parse_destination(destination)


def test_accents_become_nfc_and_collisions_are_rejected(tmp_path: Path) -> None:
    make_files(tmp_path, [unicodedata.normalize("NFD", "pêche.jpg")])
    assert [file.key for file in find_files(tmp_path, "x/").files] == [unicodedata.normalize("NFC", "x/pêche.jpg")]
    make_files(tmp_path, [unicodedata.normalize("NFC", "pêche.jpg")])
    with pytest.raises(UploadError, match="would both become"):
        find_files(tmp_path, "x/")


def test_interrupted_upload_can_be_continued(tmp_path: Path, s3: S3Server) -> None:
    folder = make_files(tmp_path / "in", [f"{i:05d}.jpg" for i in range(2000)])
    process = subprocess.Popen(
        [sys.executable, "-m", "include.deploy.upload_images", str(folder), "s3://fruits/", "--jobs", "4"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not any((s3.root / "fruits").iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    uploaded = len(list((s3.root / "fruits").iterdir()))
    assert 0 < uploaded < 2000
    assert counts(upload(folder, "s3://fruits/", progress=False)) == (2000 - uploaded, uploaded, 0)
