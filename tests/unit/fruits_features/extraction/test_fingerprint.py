"""The fingerprint changes with everything that may change the features."""

import pytest

from fruits_features.extraction import fingerprint as subject
from fruits_features.extraction.fingerprint import fingerprint, modules

DEFAULT = ("orb", "color", "texture", "contrast")


def changed(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> str:
    """Return the hash of the code as if a module contained other source code."""
    read = subject._source  # noqa: SLF001
    assert old in read(module)
    monkeypatch.setattr(subject, "_source", lambda name: read(name).replace(old, new) if name == module else read(name))
    return fingerprint(DEFAULT)["code"]


def test_modules_are_all_that_affect_the_features() -> None:
    assert list(modules(DEFAULT)) == [
        "fruits_features.contract.rejections",
        "fruits_features.extraction.batches",
        "fruits_features.extraction.extract",
        "fruits_features.extraction.families.color",
        "fruits_features.extraction.families.contrast",
        "fruits_features.extraction.families.onnx",
        "fruits_features.extraction.families.orb",
        "fruits_features.extraction.families.texture",
        "fruits_features.imaging",
        "fruits_features.imaging.colour",
        "fruits_features.imaging.decode",
        "fruits_features.imaging.formats",
        "fruits_features.imaging.formats.av1",
        "fruits_features.imaging.formats.bmp",
        "fruits_features.imaging.formats.gif",
        "fruits_features.imaging.formats.header",
        "fruits_features.imaging.formats.heif",
        "fruits_features.imaging.formats.ifd",
        "fruits_features.imaging.formats.jpeg",
        "fruits_features.imaging.formats.png",
        "fruits_features.imaging.formats.tiff",
        "fruits_features.imaging.formats.webp",
        "fruits_features.imaging.headers",
        "fruits_features.imaging.heic",
        "fruits_features.imaging.limits",
        "fruits_features.imaging.normalize",
        "fruits_features.imaging.orientation",
        "fruits_features.imaging.scaled_jpeg",
        "fruits_features.io.vectors",
    ]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("imaging.normalize", "SIDE = 100", "SIDE = 99"),
        (
            "imaging.normalize",
            "BRIGHT_SHARE, BRIGHT_LEVEL, BRIGHT_GAINS = 0.9",
            "BRIGHT_SHARE, BRIGHT_LEVEL, BRIGHT_GAINS = 0.8",
        ),
        ("imaging.decode", "import cv2", "import cv2; cv2.setNumThreads(1)"),
        ("imaging.scaled_jpeg", "IMREAD_REDUCED_GRAYSCALE_8", "IMREAD_REDUCED_GRAYSCALE_4"),
        ("extraction.extract", "OVERSAMPLING = 2", "OVERSAMPLING = 1"),
        ("extraction.families.texture", "PARAMETERS", "OTHER"),
    ],
)
def test_code_that_may_compute_other_values_has_another_hash(
    monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str
) -> None:
    before = fingerprint(DEFAULT)["code"]

    assert changed(monkeypatch, f"fruits_features.{module}", old, new) != before


def test_comments_and_docstrings_do_not_change_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(DEFAULT)["code"]

    assert (
        changed(
            monkeypatch,
            "fruits_features.imaging.normalize",
            '"""Normalizes a decoded',
            '# A comment.\n"""Normalizes another decoded',
        )
        == before
    )


def test_other_families_and_libraries_have_other_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fingerprint(("color",))["code"] != fingerprint(("color", "texture"))["code"]
    libraries = {"numpy", "opencv-python-headless", "pillow", "pillow-heif"}
    assert fingerprint(DEFAULT).keys() == {"code", "machine", *libraries}
    assert "onnxruntime" in fingerprint(("onnx",))
    monkeypatch.setattr(subject, "version", lambda _: "0")
    assert fingerprint(DEFAULT)["numpy"] == "0"
