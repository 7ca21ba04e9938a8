"""The Python examples of each document run on a published run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from include.dev.sample_images.__main__ import main as draw_samples
from tests.support.documents import DOCUMENTS, ROOT, blocks, script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow.pipeline import Pipeline, Published

EXAMPLES = {
    document: examples
    for document in DOCUMENTS
    if (examples := [block for block in blocks(document) if block.language == "python" and not block.not_run])
}
GIVEN = {
    "docs/guides/reruns.md": "from types import SimpleNamespace; "
    "event = SimpleNamespace(extra={{'run': '{run}', 'dataset': 'default'}}); "
}
"""Names that the text around an example defines, by document."""


@pytest.fixture(scope="module")
def checkout(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make demo` and `make up` leave in a checkout: sample images and the local AWS."""
    folder = tmp_path_factory.mktemp("checkout")
    assert draw_samples([str(folder / ".local" / "images"), "--jobs", "1"]) == 0
    (folder / ".local" / "aws").symlink_to(pipeline.aws.state.folder)
    return folder


def test_documents_with_examples_are_found() -> None:
    expected = {"README.md", "docs/fr/README.md", "docs/guides/train.md", "docs/reference/data-dictionary.md"}

    assert expected <= {str(document) for document in EXAMPLES}


@pytest.mark.parametrize("document", EXAMPLES, ids=str)
def test_examples_of_a_document_run_in_their_order(
    pipeline: Pipeline, published: Published, checkout: Path, document: Path
) -> None:
    given = GIVEN.get(str(document), "").format(run=published.latest["run"])
    program = given + script(EXAMPLES[document]).replace("s3://fruits", f"s3://{pipeline.bucket}")
    file = checkout / document.name
    file.write_text(program, encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, file],
        cwd=checkout,
        env={**pipeline.environment, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "spark_apps")))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
