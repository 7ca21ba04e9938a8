"""Arguments of the application, as a dataclass and as a command line.

The DAG builds `Arguments` from its params and passes `to_argv()` to the step. The application reads them with
`from_argv()`. All checks that need no data are made here for both. Uses the standard library only.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from fruits_features.contract.families import DEFAULT_FAMILIES, FAMILIES, MODEL_FAMILY, total_dimension

DEFAULT_EXPLAINED_VARIANCE = 0.95
DEFAULT_MAX_QUARANTINE_SHARE = 0.05
DEFAULT_MAX_IMAGE_BYTES = 64 * 1024 * 1024
DEFAULT_MAX_IMAGE_PIXELS = 52_000_000
"""Admits the photographs of "50-megapixel" phones, which have up to 8192 x 6144 pixels."""

_DESCRIPTION = (
    "Extract features from the images in an S3 bucket, reduce them by a PCA, and write both as Parquet files. "
    "Images that cannot be used are listed in quarantine/ with the reason."
)

ONNX_MODEL_PATTERN = r"^(s3://[^/]+/.*[^/]|/.*[^/])$"

_URI = re.compile(r"^([a-z][a-z0-9+.-]*://\S|/).*$", re.DOTALL)


class Refit(StrEnum):
    """Choice between fitting a new projection and keeping the published one."""

    ALWAYS = "always"
    NEVER = "never"
    AUTO = "auto"


class InvalidArgumentsError(ValueError):
    """An argument is outside its limits or contradicts another one. The message names the allowed values."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of one run of the application.

    Args:
        bucket: Name of the bucket that holds the images.
        region: Region of the bucket; `None` means the environment's region.
        inventory: URI of the folder with the inventory's Parquet files.
        output: URI of the run's prefix (see `layout.RunLayout`).
        run: Name of the run.
        store: URI of the feature cache that runs share; `None` to extract all features again.
        features: Names of the families, in the order in which their features are concatenated.
        onnx_model: `s3://bucket/key` or absolute path of the model; required with the family `onnx`, else `None`.
        k: Number of components to keep; excludes `explained_variance`.
        explained_variance: Share of the variance that the kept components explain, in (0, 1]; 0.95 by default.
        refit: `always` fits a new projection. `never` keeps the published one. `auto` fits a new one if the published
            one explains too little of today's images or does not know their categories (see `pca.refit`).
        published: URI of the published projection; `None` if there is none.
        include_pixels: Whether to write the decoded pixels of every image.
        max_quarantine_share: Largest share of quarantined images, from 0 to 1. The run fails above it.
        max_image_bytes: Largest object in bytes. Larger ones are quarantined without being fetched.
        max_image_pixels: Largest image in pixels. Larger ones are quarantined without being decoded.

    Raises:
        InvalidArgumentsError: A value is outside its limits.
    """

    bucket: str
    region: str | None = None
    inventory: str
    output: str
    run: str
    store: str | None = None
    features: tuple[str, ...] = DEFAULT_FAMILIES
    onnx_model: str | None = None
    k: int | None = None
    explained_variance: float | None = None
    refit: str = str(Refit.AUTO)
    published: str | None = None
    include_pixels: bool = False
    max_quarantine_share: float = DEFAULT_MAX_QUARANTINE_SHARE
    max_image_bytes: int = DEFAULT_MAX_IMAGE_BYTES
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS

    def __post_init__(self) -> None:
        """Set the default share of the variance, convert numbers to their types and check all values."""
        for name in ("k", "max_image_bytes", "max_image_pixels"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in ("explained_variance", "max_quarantine_share"):
            share = getattr(self, name)
            object.__setattr__(self, name, None if share is None else float(share))
        if self.k is None and self.explained_variance is None:
            object.__setattr__(self, "explained_variance", DEFAULT_EXPLAINED_VARIANCE)
        self._check_uris()
        self._check_families()
        self._check_model()
        self._check_components()
        self._check_limits()

    @classmethod
    def from_argv(cls, argv: Sequence[str]) -> Self:
        """Parse a command line.

        Raises:
            InvalidArgumentsError: A value is outside its limits.
            SystemExit: With code 2, an option is unknown or a value has the wrong type; with code 0 after `--help`.
        """
        return cls(**vars(_parser().parse_args(argv)))

    def to_argv(self) -> list[str]:
        """Return the command line that `from_argv` parses to equal arguments.

        >>> places = {"bucket": "fruits", "inventory": "s3://fruits/i", "output": "s3://fruits/o", "run": "r"}
        >>> Arguments(k=2, **places).to_argv()[:4]
        ['--bucket=fruits', '--inventory=s3://fruits/i', '--output=s3://fruits/o', '--run=r']
        """
        values = {
            "bucket": self.bucket,
            "region": self.region,
            "inventory": self.inventory,
            "output": self.output,
            "run": self.run,
            "store": self.store,
            "features": ",".join(self.features),
            "onnx-model": self.onnx_model,
            "k": self.k,
            "explained-variance": self.explained_variance,
            "refit": self.refit,
            "published": self.published,
            "max-quarantine-share": self.max_quarantine_share,
            "max-image-bytes": self.max_image_bytes,
            "max-image-pixels": self.max_image_pixels,
        }
        options = [f"--{name}={value}" for name, value in values.items() if value is not None]
        return [*options, "--include-pixels"] if self.include_pixels else options

    def _check_uris(self) -> None:
        for name in ("bucket", "run"):
            value = getattr(self, name)
            if not value or "/" in value:
                raise InvalidArgumentsError(f"--{name} is {value!r}; give a name without a slash.")
        for name in ("inventory", "output", "store", "published"):
            value = getattr(self, name)
            if value is not None and not _URI.match(value):
                raise InvalidArgumentsError(
                    f"--{name} is {value!r}; give a URI such as s3://bucket/prefix, or an absolute path."
                )

    def _check_families(self) -> None:
        names = ", ".join(FAMILIES)
        if not self.features:
            raise InvalidArgumentsError(f"--features is empty; give one or more of {names}.")
        for name in self.features:
            if name not in FAMILIES:
                raise InvalidArgumentsError(f"--features names {name!r}, which is not a family; choose from {names}.")
        if len(set(self.features)) < len(self.features):
            raise InvalidArgumentsError(f"--features is {','.join(self.features)}; name each family once.")

    def _check_model(self) -> None:
        if MODEL_FAMILY not in self.features:
            if self.onnx_model is not None:
                raise InvalidArgumentsError(
                    f"--onnx-model is {self.onnx_model!r}, but --features {','.join(self.features)} does not use it; "
                    f"omit it, or add {MODEL_FAMILY} to --features."
                )
        elif self.onnx_model is None or not re.match(ONNX_MODEL_PATTERN, self.onnx_model):
            raise InvalidArgumentsError(
                f"--onnx-model is {self.onnx_model!r}, but the family {MODEL_FAMILY} needs a model; "
                "give s3://bucket/key or the absolute path of an ONNX file."
            )

    def _check_components(self) -> None:
        if self.k is not None and self.explained_variance is not None:
            raise InvalidArgumentsError(
                f"--k {self.k} and --explained-variance {self.explained_variance} exclude each other; give one of them."
            )
        if self.explained_variance is not None and not 0 < self.explained_variance <= 1:
            raise InvalidArgumentsError(
                f"--explained-variance is {self.explained_variance}; give a share above 0 and up to 1, such as 0.95."
            )
        if self.refit not in list(Refit):
            raise InvalidArgumentsError(f"--refit is {self.refit!r}; choose from {', '.join(Refit)}.")
        if self.onnx_model is None:
            self.check_k()

    def check_k(self, model_dimension: int = 0) -> None:
        """Check `k` against the number of features. With a model, call this once its dimension is known.

        Args:
            model_dimension: Number of values per image in the model's output; 0 without a model.

        Raises:
            InvalidArgumentsError: `k` is less than 1 or larger than the number of features.
        """
        dimension = total_dimension(self.features, model_dimension)
        if self.k is not None and not 1 <= self.k <= dimension:
            raise InvalidArgumentsError(
                f"--k is {self.k}, but the families {','.join(self.features)} have {dimension} features; "
                f"give a k from 1 to {dimension}."
            )

    def _check_limits(self) -> None:
        if not 0 <= self.max_quarantine_share <= 1:
            raise InvalidArgumentsError(
                f"--max-quarantine-share is {self.max_quarantine_share}; give a share from 0 to 1, such as 0.05."
            )
        for name, value in (("bytes", self.max_image_bytes), ("pixels", self.max_image_pixels)):
            if value < 1:
                raise InvalidArgumentsError(f"--max-image-{name} is {value}; give at least 1.")


def _whole(name: str, value: float | None) -> int | None:
    """Return a whole number as an integer. JSON has one type of numbers, so that the form accepts 10.0 for 10.

    >>> _whole("k", 10.0), _whole("k", None)
    (10, None)

    Raises:
        InvalidArgumentsError: The number is not whole.
    """
    if value is None or isinstance(value, int):
        return value
    if not value.is_integer():
        raise InvalidArgumentsError(f"--{name.replace('_', '-')} is {value}; give a whole number.")
    return int(value)


def _names(value: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list.

    >>> _names("orb, color")
    ('orb', 'color')
    """
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("fruits_features", description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--bucket", required=True, help="name of the bucket that holds the images")
    add("--region", help="region of the bucket (default: the environment's)")
    add("--inventory", required=True, help="URI of the folder with the inventory's Parquet files")
    add("--output", required=True, help="URI of the folder that the results are written to")
    add("--run", required=True, help="name of the run")
    add("--store", help="URI of the feature cache (default: none, extract all features again)")
    add(
        "--features",
        type=_names,
        default=DEFAULT_FAMILIES,
        help=f"comma-separated feature families, from {', '.join(FAMILIES)} (default: {','.join(DEFAULT_FAMILIES)})",
    )
    add("--onnx-model", help="s3://bucket/key or absolute path of the model for the family onnx")
    add("--k", type=int, help="number of components to keep (default: those that explain the variance)")
    add(
        "--explained-variance",
        type=float,
        help=f"share of the variance to keep, without --k (default: {DEFAULT_EXPLAINED_VARIANCE})",
    )
    add(
        "--refit",
        default=str(Refit.AUTO),
        help=f"when to fit a new projection: {', '.join(Refit)} (default: %(default)s)",
    )
    add("--published", help="URI of the published projection (default: none, fit a new one)")
    add("--include-pixels", action="store_true", help="write the decoded pixels of every image")
    add(
        "--max-quarantine-share",
        type=float,
        default=DEFAULT_MAX_QUARANTINE_SHARE,
        help="largest share of quarantined images, from 0 to 1 (default: %(default)s)",
    )
    add(
        "--max-image-bytes",
        type=int,
        default=DEFAULT_MAX_IMAGE_BYTES,
        help="largest object, in bytes (default: %(default)s)",
    )
    add(
        "--max-image-pixels",
        type=int,
        default=DEFAULT_MAX_IMAGE_PIXELS,
        help="largest image, in pixels (default: %(default)s)",
    )
    return parser
