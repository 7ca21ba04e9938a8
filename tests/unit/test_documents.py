"""Checks of the documents: links, file names, the index and the length of lines."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.documents import DOCUMENTS, ROOT

CURRENT = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
"""Documents that name no former files."""
INDEX = Path("docs/README.md")
CREATED = {".local", ".venv", "dist"}
"""Folders that commands create."""
LONGEST_LINE = 120
TROUBLESHOOTING = Path("docs/guides/troubleshooting.md")
CODE = ("include", "plugins", "spark_apps")

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))(?:    .*\n)+")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_ADDRESS = re.compile(r"\w+://\S+")
_PATH = re.compile(r"(?<![\w/.<>:-])(?:[\w.-]+/)+[\w.*-]*")


def _text(document: Path) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _links(document: Path) -> list[tuple[str, str]]:
    """Pairs of target and anchor of a document's relative links, the target empty for the document itself."""
    targets = [target for target in _LINK.findall(_FENCE.sub("", _text(document))) if "://" not in target]
    return [(unquote(path), anchor) for path, _, anchor in (target.partition("#") for target in targets)]


def _resolved(document: Path, path: str) -> Path:
    return (ROOT / document.parent / path).resolve().relative_to(ROOT) if path else document


def _anchors(document: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", _text(document)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_broken(document: Path, path: str, anchor: str) -> bool:
    target = _resolved(document, path)
    return not (ROOT / target).exists() or (target.suffix == ".md" and bool(anchor) and anchor not in _anchors(target))


def _named_paths(document: Path) -> set[str]:
    """Paths below a folder of this repository that a document names, in prose and code."""
    text = _ADDRESS.sub("", _LINK.sub("", _text(document)))
    top = {entry.name for entry in ROOT.iterdir()} - CREATED
    return {path.rstrip(".") for path in _PATH.findall(text) if path.split("/")[0] in top}


def _sources() -> str:
    """Text of our code and the Makefile, with adjacent string literals joined."""
    files = (ROOT / "Makefile", *(file for name in CODE for file in (ROOT / name).rglob("*.py")))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def _prose_lines(document: Path) -> list[str]:
    """Lines outside code and tables, without links."""
    text = _INDENTED.sub("", _FENCE.sub("", _text(document)))
    without_links = _LINK.sub(lambda link: "\n" * link[0].count("\n"), text)
    return [line for line in without_links.splitlines() if not line.startswith("|")]


def test_documents_and_what_they_name_are_found() -> None:
    assert {Path("README.md"), INDEX, Path("docs/guides/aws.md")} < {*DOCUMENTS}
    assert ("docs/guides/aws.md", "") in _links(Path("README.md"))
    assert "tests/support/" in _named_paths(Path("CONTRIBUTING.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_relative_links_lead_to_files_and_headings(document: Path) -> None:
    assert [f"{path}#{anchor}" for path, anchor in _links(document) if _is_broken(document, path, anchor)] == []


@pytest.mark.parametrize("document", CURRENT, ids=str)
def test_named_paths_exist(document: Path) -> None:
    assert sorted(path for path in _named_paths(document) if not any(ROOT.glob(path.rstrip("/")))) == []


def test_index_links_every_page() -> None:
    pages = {document for document in DOCUMENTS if document.parts[0] == "docs"} - {INDEX}

    assert sorted(pages - {_resolved(INDEX, path) for path, _ in _links(INDEX)}) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_lines_are_wrapped(document: Path) -> None:
    assert [line for line in _prose_lines(document) if len(line) > LONGEST_LINE] == []


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    messages = re.findall(r"^\| `([^`]+)` \|", _text(TROUBLESHOOTING), re.MULTILINE)
    sources = _sources()
    fixed = {message: re.split(r"[\d.]*\d|…", message) for message in messages}  # without numbers and names

    assert len(messages) >= 10
    assert [message for message, parts in fixed.items() if not all(part in sources for part in parts)] == []
