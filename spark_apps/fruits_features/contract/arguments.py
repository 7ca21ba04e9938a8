"""What the application is asked to do: one dataclass, made from a command line and turned back into one.

The DAG builds `Arguments` from its parameters and passes `to_argv()` to the step; the application reads it with
`from_argv()`. Every check that needs no data is made here, once, for both. Standard library only.
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
DEFAULT_MAX_IMAGE_PIXELS = 50_000_000

ONNX_MODEL_PATTERN = r"^(s3://[^/]+/.*[^/]|/.*[^/])$"

_URI = re.compile(r"^([a-z][a-z0-9+.-]*://\S|/).*$", re.DOTALL)


class Refit(StrEnum):
    """Whether a run fits its projection anew, or keeps the published one."""

    ALWAYS = "always"
    NEVER = "never"
    AUTO = "auto"


class InvalidArgumentsError(ValueError):
    """The arguments contradict themselves or the application's limits; the message tells the way out."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What one run of the application is asked to do.

    Args:
        bucket: the bucket that holds the images.
        inventory: folder of the inventory's Parquet files.
        output: the run's prefix (see `layout.RunLayout`).
        run: the run's name, for people.
        store: where described images are remembered from run to run; `None`: nowhere.
        features: names of the families, in the order in which they are concatenated.
        onnx_model: where the model of the family `onnx` lies, as `s3://bucket/key` or an absolute path; given exactly
            when that family is.
        k: how many components to keep; or
        explained_variance: the share of the variance that the kept components explain together, in (0, 1]; 0.95 where
            neither is given.
        refit: whether the projection is fitted anew: `always`; `never` where one is published; or `auto`, when the
            published one explains today's images less well or does not know their categories (see `refit`).
        published: address of the published projection; `None` where nothing is published.
        include_pixels: also write every image's decoded pixels.
        max_quarantine_share: the run fails when more than this share of its images ends in quarantine, in 0 to 1.
        max_image_bytes: a larger object is quarantined without being fetched.
        max_image_pixels: a larger image is quarantined without being decoded.

    Raises:
        InvalidArgumentsError: for any value outside its limits.
    """

    bucket: str
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
        """Check everything that needs no data."""
        if self.k is None and self.explained_variance is None:
            object.__setattr__(self, "explained_variance", DEFAULT_EXPLAINED_VARIANCE)
        self._check_places()
        self._check_families()
        self._check_model()
        self._check_components()
        self._check_limits()

    @classmethod
    def from_argv(cls, argv: Sequence[str]) -> Self:
        """Read a command line.

        Raises:
            InvalidArgumentsError: for values that are readable, but not allowed.
            SystemExit: with code 2, for a line that cannot be read, and with 0 for `--help` (as `argparse` does).
        """
        return cls(**vars(_parser().parse_args(argv)))

    def to_argv(self) -> list[str]:
        """Write the command line that `from_argv` reads back to the same arguments.

        >>> places = {"bucket": "fruits", "inventory": "s3://fruits/i", "output": "s3://fruits/o", "run": "r"}
        >>> Arguments(k=2, **places).to_argv()[:4]
        ['--bucket=fruits', '--inventory=s3://fruits/i', '--output=s3://fruits/o', '--run=r']
        """
        values = {
            "bucket": self.bucket,
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

    def _check_places(self) -> None:
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
        known = ", ".join(FAMILIES)
        if not self.features:
            raise InvalidArgumentsError(f"--features is empty; give one or more of {known}.")
        for name in self.features:
            if name not in FAMILIES:
                raise InvalidArgumentsError(f"--features names {name!r}, which is no family; choose from {known}.")
        if len(set(self.features)) < len(self.features):
            raise InvalidArgumentsError(f"--features is {','.join(self.features)}; name every family once.")

    def _check_model(self) -> None:
        if MODEL_FAMILY not in self.features:
            if self.onnx_model is not None:
                raise InvalidArgumentsError(
                    f"--onnx-model is {self.onnx_model!r}, but --features {','.join(self.features)} has no use for it; "
                    f"leave it out, or add {MODEL_FAMILY} to --features."
                )
        elif self.onnx_model is None or not re.match(ONNX_MODEL_PATTERN, self.onnx_model):
            raise InvalidArgumentsError(
                f"--onnx-model is {self.onnx_model!r}, and the family {MODEL_FAMILY} needs one; "
                "give s3://bucket/key or an absolute path of an ONNX file."
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

    def check_k(self, of_model: int = 0) -> None:
        """Check k against the number of features: with a model, once it has told how many it gives.

        Raises:
            InvalidArgumentsError: when k is less than 1 or more than that.
        """
        dimension = total_dimension(self.features, of_model)
        if self.k is not None and not 1 <= self.k <= dimension:
            raise InvalidArgumentsError(
                f"--k is {self.k}, but the families {','.join(self.features)} give {dimension} features; "
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


def _names(value: str) -> tuple[str, ...]:
    """Read a comma-separated list of names.

    >>> _names("orb, color")
    ('orb', 'color')
    """
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("fruits_features", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--bucket", required=True, help="the bucket that holds the images")
    add("--inventory", required=True, help="folder of the inventory's Parquet files")
    add("--output", required=True, help="the run's prefix")
    add("--run", required=True, help="the run's name")
    add("--store", help="where described images are remembered from run to run (default: nowhere)")
    add("--features", type=_names, default=DEFAULT_FAMILIES, help=f"families, from {', '.join(FAMILIES)}")
    add("--onnx-model", help="s3://bucket/key or path of the model of the family onnx")
    add("--k", type=int, help="how many components to keep")
    add("--explained-variance", type=float, help="share of the variance to keep instead of --k (default 0.95)")
    add("--refit", default=str(Refit.AUTO), help=f"{', '.join(Refit)} (default %(default)s)")
    add("--published", help="address of the published projection, which --refit may keep")
    add("--include-pixels", action="store_true", help="also write every image's decoded pixels")
    add("--max-quarantine-share", type=float, default=DEFAULT_MAX_QUARANTINE_SHARE, help="default %(default)s")
    add("--max-image-bytes", type=int, default=DEFAULT_MAX_IMAGE_BYTES, help="default %(default)s")
    add("--max-image-pixels", type=int, default=DEFAULT_MAX_IMAGE_PIXELS, help="default %(default)s")
    return parser
