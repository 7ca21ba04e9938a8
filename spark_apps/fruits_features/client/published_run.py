"""A published run as an object: recognises photographs, finds similar images, and opens the tables.

    import fruits_features

    fruits = fruits_features.open("s3://fruits")
    fruits.recognise("photo.jpg")        # [("Limes", 0.98), ("Lemon", 0.01), …]
    fruits.nearest("photo.jpg", k=3)     # [Neighbour(path="s3://fruits/images/…", category="Limes", cosine=0.97), …]
    fruits.features()                    # a lazy Polars frame
    vectors, labels = fruits.matrix("Training")

Each part of the run is read when it is first needed, and then kept. So a process that recognises many photographs opens
the run once.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from numbers import Integral
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from fruits_features.client import extras
from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_BYTES
from fruits_features.contract.layout import DEFAULT_DATASET
from fruits_features.contract.rejections import Reason, Stage
from fruits_features.contract.sealed import DIGEST
from fruits_features.io import s3_access
from fruits_features.io.uri import read_published
from fruits_features.publications import name_of, published
from fruits_features.recogniser.model import Recogniser

if TYPE_CHECKING:
    import polars as pl
    from pyarrow.fs import FileSystem

    from fruits_features.client.neighbours import Neighbour, Neighbours
    from fruits_features.projection import Projection

Photo = bytes | str | os.PathLike[str]
"""Content of an image file, or its path. A string may also be an `s3://` URI."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_ANOTHER = "restore an earlier version of this object, or open another run (`run=`)"
_T = TypeVar("_T")


class NoRecogniserError(FileNotFoundError):
    """The run has no recogniser."""


class DamagedRunError(ValueError):
    """A file of the run is missing, damaged, or belongs to another run. The message names the file."""


@dataclass(frozen=True, repr=False)
class PublishedRun:
    """A published run. `fruits_features.open` returns one.

    Args:
        pointer: Content of `latest.json`, or of an earlier version of it.
        read: Function that returns the content of an object by its URI.
        filesystem: Function that returns the file system of the run's bucket.
    """

    pointer: Mapping[str, Any]
    read: Callable[[str], bytes]
    filesystem: Callable[[], "FileSystem"]

    @classmethod
    def open(
        cls, bucket: str, *, run: str | None = None, as_of: str | date | None = None, dataset: str = DEFAULT_DATASET
    ) -> Self:
        """Open a published run, with credentials as boto3 finds them.

        Args:
            bucket: `s3://<bucket>`.
            run: Name of a run; the published run by default. Excludes `as_of`.
            as_of: Time as `datetime`, `date` or ISO 8601; selects the run that was published then.
            dataset: Name of the data set.

        Raises:
            DamagedPointerError: The pointer to the run is damaged.
            NothingPublishedError: The bucket does not contain the run or the data set.
            S3AccessError: There are no credentials, or S3 rejected them.
            ValueError: `bucket` is not the address of a bucket, `dataset` is not the name of a data set, `run` and
                `as_of` are both given, or the time cannot be parsed.
        """
        pointer = published(bucket, run=run, as_of=as_of, dataset=dataset)
        return cls(pointer, read_published, partial(s3_access.open_filesystem, name_of(bucket)))

    def __repr__(self) -> str:
        """Return the name of the run. The pointer has hundreds of checksums."""
        return f"<PublishedRun {self.run}>"

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self.pointer["run"])

    @cached_property
    def recogniser(self) -> Recogniser:
        """Recogniser of the run.

        Raises:
            DamagedRunError: The recogniser is missing, damaged, or belongs to another run.
            NoRecogniserError: The run has no recogniser.
        """
        if "recogniser" not in self.pointer["paths"]:
            raise NoRecogniserError(
                f"The run {self.run} has no recogniser: it has fewer than two categories, or an older version "
                "published it. Run the DAG again, or open another run (`run=`)."
            )
        recogniser = self._load("recogniser", Recogniser.from_bytes)
        self._check_version("recogniser", recogniser.projection)
        return recogniser

    @cached_property
    def projection(self) -> "Projection":
        """Projection of the run, which computes the components of a photo. Its network is a local copy.

        Raises:
            DamagedRunError: The projection is missing, damaged, or belongs to another run.
            MissingExtraError: The extra `embed` is not installed, or `onnx`, which this projection needs.
            ModelError: The network of the run is missing or was replaced.
        """
        extras.require("embed")
        from fruits_features.projection import Projection  # noqa: PLC0415 - needs OpenCV

        projection = self._load("projection", Projection.from_bytes)
        self._check_version("projection", projection.version)
        if projection.model is None:
            return projection
        extras.require("onnx")
        folder = mkdtemp(prefix="fruits-features-")
        finalize(self, rmtree, folder, ignore_errors=True)
        return replace(projection, model=projection.model.fetch(self.read, Path(folder, "model.onnx")))

    def recognise(self, photo: Photo, top: int = 5) -> list[tuple[str, float]]:
        """Return the categories of a photo with their probabilities, the most probable first.

        Args:
            photo: Content of the image file, its path, or its `s3://` URI.
            top: Number of categories.

        Raises:
            DamagedRunError: A file of the run is missing, damaged, or belongs to another run.
            MissingExtraError: The extra `embed` is not installed, or `onnx`, which this run needs.
            ModelError: The network of the run cannot be used.
            NoRecogniserError: The run has no recogniser.
            NotAnImageError: The photo cannot be used. The message contains the reason.
            OSError: The photo cannot be read.
            TypeError: The photo is neither bytes nor a path.
            ValueError: `top` is not an integer of at least 1, or the photo is the URL of another scheme than s3.
        """
        _check_positive("top", top)
        recogniser = self.recogniser
        return recogniser.recognise(self.embed(photo), top)

    def nearest(self, photo: Photo, k: int = 5) -> list["Neighbour"]:
        """Return the images of the run that are most similar to a photo, the most similar first.

        Args:
            photo: Content of the image file, its path, or its `s3://` URI.
            k: Number of images.

        Raises:
            DamagedRunError: A file of the run is missing, damaged, or belongs to another run.
            MissingExtraError: The extra `read` or `embed` is not installed, or `onnx`, which this run needs.
            ModelError: The network of the run cannot be used.
            NotAnImageError: The photo cannot be used. The message contains the reason.
            OSError: The photo cannot be read.
            TypeError: The photo is neither bytes nor a path.
            ValueError: `k` is not an integer of at least 1, or the photo is the URL of another scheme than s3.
        """
        extras.require("read")  # before the photo is read
        return self.nearest_to(self.embed(photo), k)

    def nearest_to(self, components: NDArray[np.float32], k: int = 5) -> list["Neighbour"]:
        """Return the images whose components have the largest cosines with those of an image, as `nearest`.

        Args:
            components: Components of the image, as many as `embed` returns, float32.
            k: Number of images.

        Raises:
            DamagedRunError: The table `features` is missing or damaged.
            MissingExtraError: The extra `read` is not installed.
            ValueError: `k` is not an integer of at least 1, the images have another number of components, or a
                component is not a finite number.
        """
        extras.require("read")
        _check_positive("k", k)
        return self._neighbours.nearest(components, k)

    def features(self) -> "pl.LazyFrame":
        """Open the table `features` lazily. docs/reference/data-dictionary.md lists the columns.

        Raises:
            MissingExtraError: The extra `read` is not installed.
        """
        extras.require("read")
        from fruits_features.dataset import scan  # noqa: PLC0415 - needs polars

        return scan(self.pointer["paths"]["features"], self.filesystem())

    def matrix(self, split: str | None = None) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """Return the components and the categories of the images, as classifiers of scikit-learn take them.

        Args:
            split: Training, Validation or Test. All images by default.

        Returns:
            The components, n x k, and the n categories, in the order of the rows of `features`.

        Raises:
            MissingExtraError: The extra `read` is not installed.
            ValueError: The run has no image of the split.
        """
        features = self.features()
        from fruits_features.dataset import select  # noqa: PLC0415 - needs polars

        return select(features, split)

    def embed(self, photo: Photo) -> NDArray[np.float32]:
        """Return the components of a photo, float32. Errors are those of `recognise`."""
        projection = self.projection
        return projection.embed(photo if isinstance(photo, bytes) else self._content(photo))

    @cached_property
    def _neighbours(self) -> "Neighbours":
        from fruits_features.client.neighbours import Neighbours, cache_folder  # noqa: PLC0415 - needs polars

        digest = self.pointer.get(DIGEST)  # of the pointer, which names everything that the index depends on
        folder = cache_folder()
        index = folder / f"{digest.removeprefix('sha256:')}.faiss" if folder and digest else None
        try:
            with self._explained("features"):
                return Neighbours.of(self.features(), index)
        except OSError as error:  # pyarrow's error for damaged pages, and for failed requests
            if "AWS Error" in str(error):  # pyarrow's only mark of a failed request: it has no class and no errno
                raise
            raise DamagedRunError(
                f"{self.pointer['paths']['features']} cannot be used: {error}; {_ANOTHER}."
            ) from error

    def _content(self, photo: object) -> bytes:
        if not isinstance(photo, str | os.PathLike):
            raise TypeError(
                f"A photo cannot be of the type {type(photo).__name__}; give the path, the s3:// URI or the bytes of "
                "one image file. Write pixels in memory to such bytes first, for example as PNG."
            )
        path = os.fspath(photo)
        if path.startswith("s3://"):
            return self.read(path)
        if _URL.match(path):
            raise ValueError(
                f"{path!r} is neither a path nor an s3:// URI; download the photo, and give its path or its bytes."
            )
        if (size := os.stat(path).st_size) > DEFAULT_MAX_IMAGE_BYTES:  # noqa: PTH116 - Path("") is a folder
            from fruits_features.projection import NotAnImageError  # noqa: PLC0415 - needs OpenCV

            detail = f"The file has {size} bytes; the limit is {DEFAULT_MAX_IMAGE_BYTES}."
            raise NotAnImageError(f"{Stage.FETCH}: {Reason.TOO_MANY_BYTES}: {detail}")
        return Path(path).read_bytes()

    def _load(self, name: str, decode: Callable[[bytes], _T]) -> _T:
        """Read a file of the run that the pointer names.

        Raises:
            DamagedRunError: The file is missing or cannot be decoded.
        """
        with self._explained(name):
            return decode(self.read(self.pointer["paths"][name]))

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Name the file or the table of the run whose reading fails in the block.

        Raises:
            DamagedRunError: It is missing or cannot be decoded.
        """
        uri = self.pointer["paths"][name]
        try:
            yield
        except FileNotFoundError as error:
            raise DamagedRunError(f"The run {self.run} lacks {uri}; {_ANOTHER}.") from error
        except ValueError as error:
            raise DamagedRunError(f"{uri} cannot be used: {error}; {_ANOTHER}.") from error

    def _check_version(self, name: str, version: str) -> None:
        """Check that a file of the run belongs to the projection that the pointer names.

        Raises:
            DamagedRunError: It belongs to another projection.
        """
        expected = self.pointer["projection"]["version"]
        if version != expected:
            raise DamagedRunError(
                f"{self.pointer['paths'][name]} belongs to the projection {version}, but the run {self.run} has "
                f"{expected}; {_ANOTHER}."
            )


def _check_positive(name: str, number: int) -> None:
    if not isinstance(number, Integral) or number < 1:
        raise ValueError(f"{name}={number!r} is not a positive integer; give 1 or more.")
