"""The shell examples of each document run, in their order, in a copy of the checkout in which the local AWS runs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.state import DEFAULT_BUCKET
from tests.support.checkouts import copy_of_checkout
from tests.support.documents import DOCUMENTS, blocks, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = {
    document: examples
    for document in DOCUMENTS
    if (examples := [block for block in blocks(document) if block.language == "sh" and not block.not_run])
}


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of the checkout after `make up`: the local AWS runs and has the deployment's bucket."""
    folder = copy_of_checkout(tmp_path)
    with LocalAws(folder / ".local" / "aws") as aws:
        aws.create_bucket(DEFAULT_BUCKET)
        yield folder


def test_documents_with_examples_are_found() -> None:
    expected = {"README.md", "docs/guides/first-hour.md", "docs/reference/local-aws.md"}

    assert expected <= {str(document) for document in EXAMPLES}


@pytest.mark.parametrize("document", EXAMPLES, ids=str)
def test_commands_of_a_document_run_in_their_order(checkout: Path, document: Path) -> None:
    ran = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script(EXAMPLES[document])],  # noqa: S607
        stdin=subprocess.DEVNULL,
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "FRUITS_"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-6000:]
