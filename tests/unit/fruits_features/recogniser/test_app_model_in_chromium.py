"""onnxruntime-web runs the file for an app in a browser, with the answers of Python."""

from __future__ import annotations

import base64
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from include.deploy.model import build
from include.deploy.uploads import WHEELS
from tests.support.app_models import CATEGORIES, Recognition, picture
from tests.support.documents import ROOT, blocks
from tests.support.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

RUNTIME = ROOT / ".local" / "onnxruntime_web" / "node_modules" / "onnxruntime-web" / "dist"

FEATURES = Path("docs", "reference", "features.md")

RECOGNISE = """
async ([columns, rows, pixels]) => {
    const ort = await import("/dist/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
    const rgba = Uint8ClampedArray.from(atob(pixels), (character) => character.charCodeAt(0));
    canvas.getContext("2d").putImageData(new ImageData(rgba, columns, rows), 0, 0);
    %s
    return [Array.from(probabilities.data), categories.data];
}
"""
"""Function of an image. Its middle is the code block of the document."""


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def shipped() -> Recognition:
    return Recognition.of(build.build(WHEELS).read_bytes())


@pytest.fixture(scope="module")
def site(shipped: Recognition, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not RUNTIME.exists():
        pytest.skip("onnxruntime-web is not in .local/onnxruntime_web, where .ci/run installs it")
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "dist").symlink_to(RUNTIME)
    (folder / "app.onnx").write_bytes(shipped.app())
    (folder / "index.html").write_text("<!doctype html><title>Fruits</title>")
    with serving(partial(_Files, directory=str(folder))) as url:
        yield url


@pytest.mark.parametrize(("height", "width"), [(100, 100), (640, 480)])
def test_probabilities_in_a_browser_equal_those_of_python(
    shipped: Recognition, site: str, page: Page, height: int, width: int
) -> None:
    (documented,) = (block.code for block in blocks(FEATURES) if block.language == "js")
    image = picture(height, width)
    page.goto(site)

    pixels = base64.b64encode(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)).decode()
    probabilities, categories = page.evaluate(RECOGNISE % documented, [width, height, pixels])

    assert probabilities == pytest.approx(shipped.probabilities(image), abs=1e-3)
    assert tuple(categories) == CATEGORIES
