"""The command line: the round trip of valid arguments, and the messages for invalid ones."""

import pytest

from fruits_features.contract.arguments import Arguments, InvalidArgumentsError

PLACES = {
    "bucket": "fruits",
    "inventory": "s3://fruits/features/runs/r/inventory/",
    "output": "s3://fruits/features/runs/r",
    "run": "r",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"k": 128},
        {"explained_variance": 0.9, "features": ("color",), "include_pixels": True},
        {"max_quarantine_share": 0.25, "max_image_bytes": 1, "max_image_pixels": 10**9},
        {"refit": "never", "published": "s3://fruits/features/runs/r/projection/projection.npz"},
        {"features": ("orb", "onnx"), "onnx_model": "s3://models/a net.onnx", "k": 1000},
        {"output": "/srv/a run/with spaces, commas = and #", "store": "s3://fruits/features/described"},
    ],
)
def test_arguments_survive_the_round_trip_through_argv(changes: dict[str, object]) -> None:
    arguments = Arguments(**PLACES | changes)  # type: ignore[arg-type]

    assert Arguments.from_argv(arguments.to_argv()) == arguments


def test_arguments_explain_95_percent_by_default() -> None:
    assert Arguments(**PLACES).explained_variance == 0.95  # type: ignore[arg-type]


def test_whole_floats_become_integers() -> None:
    arguments = Arguments(**PLACES, k=10.0, max_image_bytes=1e6)  # type: ignore[arg-type]

    assert {"--k=10", "--max-image-bytes=1000000"} <= set(arguments.to_argv())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "--k is 0"),
        ({"k": 2.5}, "--k is 2.5; give a whole number"),
        ({"max_image_bytes": float("inf")}, "--max-image-bytes is inf; give a whole number"),
        ({"k": 844}, "have 843 features; give a k from 1 to 843"),
        ({"k": 3, "explained_variance": 0.5}, "exclude each other"),
        ({"explained_variance": 0.0}, "--explained-variance is 0.0"),
        ({"explained_variance": 1.01}, "--explained-variance is 1.01"),
        ({"explained_variance": float("nan")}, "--explained-variance is nan"),
        ({"features": ()}, "--features is empty"),
        ({"features": ("orb", "hog")}, "'hog', which is not a family; choose from orb, color, texture, contrast, "),
        ({"features": ("orb", "orb")}, "name each family once"),
        (
            {"features": ("orb", "onnx")},
            "--onnx-model is None, but the family onnx needs a model; give s3://bucket/key",
        ),
        ({"features": ("onnx",), "onnx_model": "net.onnx"}, "--onnx-model is 'net.onnx'"),
        ({"features": ("onnx",), "onnx_model": "s3://models/"}, "--onnx-model is 's3://models/'"),
        ({"onnx_model": "/m.onnx"}, "orb,color,texture,contrast does not use it; omit it, or add onnx"),
        ({"max_quarantine_share": -0.1}, "--max-quarantine-share is -0.1"),
        ({"max_image_bytes": 0}, "--max-image-bytes is 0"),
        ({"max_image_pixels": 0}, "--max-image-pixels is 0"),
        ({"bucket": "fruits/images"}, "without a slash"),
        ({"output": "runs/r"}, "--output is 'runs/r'; give a URI"),
        ({"refit": "sometimes"}, "--refit is 'sometimes'; choose from always, never, auto"),
        ({"published": "p.npz"}, "--published is 'p.npz'; give a URI"),
        ({"store": "described"}, "--store is 'described'; give a URI"),
    ],
)
def test_arguments_outside_their_limits_are_rejected_with_the_allowed_values(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidArgumentsError, match=message):
        Arguments(**PLACES | changes)  # type: ignore[arg-type]


def test_k_is_checked_against_the_dimension_of_the_model() -> None:
    arguments = Arguments(**PLACES, features=("orb", "onnx"), onnx_model="/m.onnx", k=266)  # type: ignore[arg-type]

    arguments.check_k(model_dimension=10)
    with pytest.raises(InvalidArgumentsError, match="have 265 features; give a k from 1 to 265"):
        arguments.check_k(model_dimension=9)


def test_argv_with_unknown_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        Arguments.from_argv(["--colour=red"])

    assert "fruits_features: error:" in capsys.readouterr().err


def test_help_starts_with_what_the_application_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        Arguments.from_argv(["--help"])

    assert "\n\nExtract features from the images in an S3 bucket" in capsys.readouterr().out


@pytest.mark.parametrize("size", [(8192, 6144), (8160, 6144)])
def test_default_limit_admits_photographs_of_50_megapixel_phones(size: tuple[int, int]) -> None:
    assert Arguments(**PLACES).max_image_pixels >= size[0] * size[1]  # type: ignore[arg-type]
