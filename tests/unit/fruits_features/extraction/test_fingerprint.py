"""What descriptions depend on is seen by itself: nobody has to remember to raise a version."""

import pytest

from fruits_features import provenance
from fruits_features.provenance import describing, modules

DEFAULT = ("orb", "color", "texture", "contrast")


def changed(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> str:
    """Tell the code's hash as if a module said something else."""
    read = provenance._source  # noqa: SLF001
    assert old in read(module)
    monkeypatch.setattr(
        provenance, "_source", lambda name: read(name).replace(old, new) if name == module else read(name)
    )
    return describing(DEFAULT)["code"]


def test_modules_are_all_that_have_a_part_in_an_images_values() -> None:
    assert modules(DEFAULT) == [
        "fruits_features.description",
        "fruits_features.families.color",
        "fruits_features.families.contrast",
        "fruits_features.families.onnx",
        "fruits_features.families.orb",
        "fruits_features.families.texture",
        "fruits_features.headers",
        "fruits_features.images",
        "fruits_features.rejections",
        "fruits_features.vectors",
        "fruits_features.views",
        "fruits_features.worker",
    ]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("views", "SIDE = 100", "SIDE = 99"),
        ("views", "BRIGHT_SHARE, BRIGHT_LEVEL, BRIGHT_GAINS = 0.9", "BRIGHT_SHARE, BRIGHT_LEVEL, BRIGHT_GAINS = 0.8"),
        ("images", "import cv2", "import cv2; cv2.setNumThreads(1)"),
        ("families.texture", "PARAMETERS", "OTHER"),
    ],
)
def test_code_that_may_give_other_values_has_another_hash(
    monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str
) -> None:
    before = describing(DEFAULT)["code"]

    assert changed(monkeypatch, f"fruits_features.{module}", old, new) != before


def test_comments_and_docstrings_have_no_part_in_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = describing(DEFAULT)["code"]

    assert (
        changed(monkeypatch, "fruits_features.views", '"""What the families', '# A comment.\n"""Whatever the') == before
    )


def test_other_families_and_libraries_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describing(("color",))["code"] != describing(("color", "texture"))["code"]
    assert describing(DEFAULT).keys() == {"code", "machine", "numpy", "opencv-python-headless"}
    assert "onnxruntime" in describing(("onnx",))
    monkeypatch.setattr(provenance, "version", lambda _: "0")
    assert describing(DEFAULT)["numpy"] == "0"
