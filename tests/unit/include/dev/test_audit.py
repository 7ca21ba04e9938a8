"""The audit, with pip-audit and a vulnerability service on loopback."""

from __future__ import annotations

import json
import re
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.dev import audit
from tests.support.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
HASH = "0" * 64
KNOWN = {"old-package": {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "Reads too far."}}


class _Osv(BaseHTTPRequestHandler):
    """OSV's API with the vulnerabilities `KNOWN` of version 1.0."""

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = KNOWN.get(question["package"]["name"]) if question["version"] == "1.0" else None
        affected = [
            {
                "package": question["package"],
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            }
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [known | {"affected": affected}]} if known else {}).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two files that pin different versions of one package."""
    files = []
    for name, version in (("a.txt", "1.0"), ("b.txt", "1.1")):
        (tmp_path / name).write_text(f"good==2.0 --hash=sha256:{HASH}\nold-package=={version} --hash=sha256:{HASH}\n")
        files.append(str(tmp_path / name))
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    with serving(_Osv) as url:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", url)
        yield files


def _accept(folder: Path, text: str) -> str:
    path = folder / "accepted.toml"
    path.write_text(text)
    return f"--accepted={path}"


def test_vulnerability_fails_with_its_file_and_fix(
    locks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([*locks, _accept(tmp_path, "")]) == 1

    shown = capsys.readouterr().out
    assert shown == f"old-package 1.0 has the vulnerability PYSEC-1, CVE-1 ({locks[0]}). Fixed in 1.1.\n"


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        (("CVE-1", "2999-01-01"), (0, "No known vulnerability, except for 1 accepted ones.")),
        (("CVE-1", "2026-01-01"), (1, "CVE-1 must be reviewed since 2026-01-01. It was accepted: It is not used.")),
        (("CVE-2", "2999-01-01"), (1, "CVE-2 is accepted but was not found. Remove its entry.")),
    ],
)
def test_accepted_vulnerability_passes_until_its_review(
    locks: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    entry: tuple[str, str],
    outcome: tuple[int, str],
) -> None:
    name, review_on = entry
    accepted = _accept(tmp_path, f'[{name}]\nreason = "It is not used."\nreview_on = {review_on}\n')

    code = audit.main([*locks, accepted])

    assert (code, capsys.readouterr().out.splitlines()[-1]) == outcome


@pytest.mark.parametrize(("option", "code"), [([], 1), (["--if-reachable"], 0)])
def test_package_that_was_not_looked_up_is_no_clean_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str], code: int
) -> None:
    output = {"dependencies": [{"name": "good", "skip_reason": "not found"}], "fixes": []}
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, json.dumps(output), ""))

    assert audit.main(["a.txt", *option]) == code

    assert "does not know 1 of 1 packages of a.txt, such as good." in capsys.readouterr().err


def test_failure_of_pip_audit_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("good==2.0\n")  # without a hash

    assert audit.main([str(tmp_path / "a.txt")]) == 1

    assert re.search(r"not audited\. pip-audit failed on .*a\.txt: .*hash", capsys.readouterr().err, re.DOTALL)


def test_all_locked_requirements_are_audited() -> None:
    (line,) = re.findall(r"^AUDITED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = ["git", "ls-files", "*requirements*.txt"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {*line.split(), "spark_apps/requirements.txt"} == {*listed.split()}


def test_accepted_vulnerabilities_have_a_reason_and_a_date() -> None:
    accepted = audit.tomllib.loads(audit.ACCEPTED.read_text())

    assert [name for name, entry in accepted.items() if entry.keys() != {"reason", "review_on"}] == []
