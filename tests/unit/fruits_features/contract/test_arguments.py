"""The command line: what goes in comes out, and what cannot be is refused with a sentence."""

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
def test_arguments_written_and_read_again_are_the_same(changes: dict[str, object]) -> None:
    arguments = Arguments(**PLACES | changes)  # type: ignore[arg-type]

    assert Arguments.from_argv(arguments.to_argv()) == arguments


def test_arguments_without_a_wish_explain_95_percent() -> None:
    assert Arguments(**PLACES).explained_variance == 0.95  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k": 0}, "--k is 0"),
        ({"k": 844}, "give 843 features; give a k from 1 to 843"),
        ({"k": 3, "explained_variance": 0.5}, "exclude each other"),
        ({"explained_variance": 0.0}, "--explained-variance is 0.0"),
        ({"explained_variance": 1.01}, "--explained-variance is 1.01"),
        ({"explained_variance": float("nan")}, "--explained-variance is nan"),
        ({"features": ()}, "--features is empty"),
        ({"features": ("orb", "hog")}, "'hog', which is no family; choose from orb, color, texture, contrast, "),
        ({"features": ("orb", "orb")}, "name every family once"),
        ({"features": ("orb", "onnx")}, "--onnx-model is None, and the family onnx needs one; give s3://bucket/key"),
        ({"features": ("onnx",), "onnx_model": "net.onnx"}, "--onnx-model is 'net.onnx'"),
        ({"features": ("onnx",), "onnx_model": "s3://models/"}, "--onnx-model is 's3://models/'"),
        ({"onnx_model": "/m.onnx"}, "orb,color,texture,contrast has no use for it; leave it out, or add onnx"),
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
def test_arguments_outside_their_limits_are_refused_with_the_way_out(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=sentence):
        Arguments(**PLACES | changes)  # type: ignore[arg-type]


def test_k_is_checked_against_the_models_dimension_once_it_is_known() -> None:
    arguments = Arguments(**PLACES, features=("orb", "onnx"), onnx_model="/m.onnx", k=266)  # type: ignore[arg-type]

    arguments.check_k(of_model=10)
    with pytest.raises(InvalidArgumentsError, match="give 265 features; give a k from 1 to 265"):
        arguments.check_k(of_model=9)


def test_argv_with_an_unknown_option_exits_with_2_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        Arguments.from_argv(["--colour=red"])

    assert "fruits_features: error:" in capsys.readouterr().err
