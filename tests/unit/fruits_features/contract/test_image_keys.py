"""Split, category and system files by the names of folders and files."""

import unicodedata

import pytest

from fruits_features.contract.image_keys import is_system_file, is_system_folder, key_problem, split_and_category


@pytest.mark.parametrize(
    ("relative_key", "expected"),
    [
        ("Training/Apple Golden 2/3_100.jpg", ("Training", "Apple Golden 2")),
        ("Limes/1.jpg", (None, "Limes")),
        ("Test/shop/Limes/1.jpg", ("Test", "Limes")),
        ("shop/Test/1.jpg", (None, "Test")),
        ("Training/stray.jpg", ("Training", None)),
        ("stray.jpg", (None, None)),
        ("Crème brûlée #1/50%+.jpg", (None, "Crème brûlée #1")),
        ("Validation/Limes/1.jpg", ("Validation", "Limes")),
        ("TRAIN/Limes/1.jpg", ("Training", "Limes")),
        ("val/Limes/1.jpg", ("Validation", "Limes")),
        ("valid/Limes/1.jpg", ("Validation", "Limes")),
        ("test/Limes/1.jpg", ("Test", "Limes")),
        ("fruits-360/Test/Limes/1.jpg", ("Test", "Limes")),
        ("a/b/training/shop/Limes/1.jpg", ("Training", "Limes")),
        ("Test/Training/1.jpg", ("Test", "Training")),
        ("tests/Limes/1.jpg", (None, "Limes")),
        ("val/1.jpg", ("Validation", None)),
        ("a//Limes/1.jpg", (None, "Limes")),
    ],
)
def test_split_and_category_come_from_the_folders(relative_key: str, expected: tuple) -> None:
    assert split_and_category(relative_key) == expected


def test_category_in_either_unicode_form_is_one() -> None:
    names = {unicodedata.normalize(form, "Pêche/1.jpg") for form in ("NFC", "NFD")}

    assert len(names) == 2
    assert {split_and_category(name) for name in names} == {(None, "P\xeache")}


@pytest.mark.parametrize(
    "relative_key",
    [
        "._1.png",
        "Limes/._1.png",
        ".DS_Store",
        "Limes/.DS_Store",
        "__MACOSX/Limes/1.png",
        "shop/__MACOSX/._1.png",
        "Limes/Thumbs.db",
        "Limes/thumbs.DB",
        "Limes/desktop.ini",
        "Limes_$folder$",
        "Training/Limes_$folder$",
        "_SUCCESS",
        "Limes/_SUCCESS",
        "_temporary/0/part-00000",
        ".thumbnails/2026/1.jpg",
        "$RECYCLE.BIN/1.jpg",
        "System Volume Information/1.jpg",
        "@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "Limes/Icon\r",
        "Limes/1.jpg:Zone.Identifier",
        "Limes/IMG_1.AAE",
        "Limes/IMG_1.xmp",
        ".trashed-1764-IMG_1.jpg",
        "..hidden/1.jpg",
    ],
)
def test_system_files_are_known_by_name(relative_key: str) -> None:
    assert is_system_file(relative_key)


@pytest.mark.parametrize(
    "relative_key",
    [
        "1.jpg",
        "Limes/_MG_1.jpg",
        "Limes/IMG_1.HEIC",
        "Limes/photo",
        "_SUCCESS/1.jpg",
        "Thumbs.db/1.jpg",
        "a/./1.jpg",
        "../1.jpg",
        "a//1.jpg",
        "Limes.d/$1.jpg",
        "MACOSX/1.jpg",
        "",
    ],
)
def test_other_files_may_be_images(relative_key: str) -> None:
    assert not is_system_file(relative_key)


def test_folder_below_a_system_folder_is_one() -> None:
    assert is_system_folder("Limes/.git/objects")
    assert not is_system_folder("Limes/../objects")


@pytest.mark.parametrize("key", ["/1.jpg", "a//1.jpg", "a/", "./1.jpg", "a/./1.jpg", "../1.jpg", "a/.."])
def test_key_with_a_segment_that_is_no_name_cannot_be_requested(key: str) -> None:
    assert key_problem(key) == "has an empty, '.' or '..' segment"


@pytest.mark.parametrize("character", ["\0", "\n", "\x1f", "\x7f"])
def test_key_with_a_control_character_cannot_be_requested(character: str) -> None:
    assert key_problem(f"a{character}/1.jpg") == f"contains {character!r}"


def test_other_keys_can_be_requested() -> None:
    assert key_problem("...a/ ~%#?/\x80.jpg") is None
