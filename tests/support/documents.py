"""Code blocks of the documents, and the reasons of those that no test runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    file.relative_to(ROOT)
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "spark_apps" / "README.md")
)

_OPEN, _CLOSE = "<!-- not run: ", " -->"


@dataclass(frozen=True)
class Block:
    """A code block.

    Args:
        document: Path of the document, relative to the checkout.
        line: Number of its first line of code.
        language: `python`, `sh` or `text`. An indented block without a language is `sh`.
        code: Its text.
        not_run: Reason of `<!-- not run: reason -->` above the block; empty if tests run it.
    """

    document: Path
    line: int
    language: str
    code: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line} {self.not_run or 'run'}"


def blocks(document: Path) -> list[Block]:
    """Return the code blocks of a document in their order."""
    return list(_blocks(document, MarkdownIt().parse((ROOT / document).read_text(encoding="utf-8"))))


def _blocks(document: Path, tokens: Sequence[Token]) -> Iterator[Block]:
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in {"fence", "code_block"}:
            continue
        assert token.map
        is_fence = token.type == "fence"
        comment = before.content.strip() if before and before.type == "html_block" else ""
        reason = comment.removeprefix(_OPEN).removesuffix(_CLOSE) if comment.startswith(_OPEN) else ""
        language = token.info if is_fence else "sh"
        yield Block(document, token.map[0] + 1 + is_fence, language, token.content, reason)


def inline_code(document: Path) -> list[str]:
    """Return the code within the sentences of a document."""
    tokens = MarkdownIt().enable("table").parse((ROOT / document).read_text(encoding="utf-8"))
    return [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]


def script(blocks: Sequence[Block]) -> str:
    """Return blocks of one document as a program with the document's line numbers."""
    text = ""
    for block in blocks:
        text += "\n" * (block.line - 1 - text.count("\n")) + block.code
    return text
