"""The feature cache: stores the features of each image, so that later runs reuse them.

The root folder contains one folder, a cache, per configuration (families, limits, model, code). A cache contains one
folder, a segment, per run that extracted features. A segment is valid once its manifest exists, which is written last
in one PUT. Segments without a manifest are never read. Segments are never modified: each attempt of a run writes a new
one, so an abandoned attempt that still writes does no harm.

The manifest contains its own digest and those of all files of the segment. A segment with a damaged file is ignored,
and its images are extracted again.

Does not know Spark or images. `data_files` reads and writes the files.
"""

import json
import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from obstore.exceptions import PermissionDeniedError

from fruits_features.contract import sealed
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.errors import RunError
from fruits_features.contract.rejections import Reason
from fruits_features.contract.sealed import DIGEST, DamagedDocumentError
from fruits_features.extraction.families.onnx import Weights
from fruits_features.extraction.fingerprint import THIS_MACHINE, Environment, fingerprint
from fruits_features.io import arrow, blocks, object_store
from fruits_features.io.blocks import Block, DamagedFileError
from fruits_features.io.prefetch import prefetch_map
from fruits_features.schemas import INDEX, arrow_schema, stored_columns

FORMAT = 2
"""Format of segments. Increases when a version cannot read the segments of an older one."""
MANIFEST = "manifest.json"
ABOUT = "about.json"
"""Name of the file that describes a cache's configuration. Each run writes it, so its age is the time of last use."""

REASON_COLUMNS = ("stage", "reason", "detail")
"""Columns of the index with the reason of the rejection."""
OUTCOME_COLUMNS = ["file", "row", *REASON_COLUMNS]
"""Columns of the index with the location of the features, or the reason of the rejection."""

TRANSIENT_REASONS = tuple(
    str(reason)
    for reason in (
        Reason.NO_CATEGORY,
        Reason.GONE,
        Reason.CHANGED,
        Reason.FORBIDDEN,
        Reason.UNAVAILABLE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.DECODER_CRASH,
        Reason.DECODER_TIMEOUT,
    )
)
"""Reasons that depend on S3, on the image prefix or on a machine and its libraries, and not only on the object. They
are not cached."""

_MAX_CONCURRENT_READS = 16
"""Number of small objects read concurrently."""

_A = TypeVar("_A")
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredFile:
    """A file of extracted images, in the order of the inventory.

    Args:
        name: Name in the segment's folder.
        rows: Number of images.
        size: Size of the file in bytes.
        memory: Size of the Arrow table in bytes.
        blocks: Digests of the file's blocks.
    """

    name: str
    rows: int
    size: int
    memory: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class StoredPart:
    """The files that one task has written to a segment.

    Args:
        index: Name of the index file. Its column `file` is a position in `files`.
        size: Size of the index file in bytes.
        digest: SHA-256 of the index file, hexadecimal.
        files: Files with the extracted images; empty if all images were rejected.
    """

    index: str
    size: int
    digest: str
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class CacheSegment:
    """A complete segment of a cache.

    Args:
        name: Name of the folder.
        run: Name of the run that wrote it.
        parts: Parts of the segment, one per task.
        supersedes: Names of the segments that this one replaces.
        written_at: Time of completion, ISO 8601, UTC.
    """

    name: str
    run: str
    parts: tuple[StoredPart, ...]
    supersedes: tuple[str, ...] = ()
    written_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    @property
    def rows(self) -> int:
        """Number of extracted images."""
        return sum(file.rows for part in self.parts for file in part.files)

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, with its digest."""
        fields = {name: value for name, value in asdict(self).items() if name != "name"}
        return json.dumps(sealed.seal({"format": FORMAT, **fields}), indent=1).encode()

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Self | None:
        """Read a segment from its manifest; return `None` for another format.

        Raises:
            DamagedDocumentError: The manifest cannot be read, or has other content than was written.
        """
        fields = sealed.decode(data)
        if fields.pop("format", None) != FORMAT:
            return None
        if fields.pop(DIGEST, None) is None:
            raise DamagedDocumentError("it has no digest")
        parts = tuple(_part(**part) for part in fields.pop("parts"))
        return cls(name, parts=parts, supersedes=tuple(fields.pop("supersedes")), **fields)


class DamagedCacheError(RunError):
    """Segments of the feature cache are damaged. The run continues without them.

    Args:
        damage: Damage of each segment by its name, as one sentence.
    """

    def __init__(self, damage: Mapping[str, str]) -> None:
        super().__init__(f"The feature cache is damaged: {' '.join(damage.values())} Run again.")
        self.damage = dict(damage)

    @classmethod
    def of(cls, errors: Collection[DamagedFileError]) -> Self:
        """Return the error for damaged files, whose names begin with their segments' names."""
        return cls({error.name.partition("/")[0]: str(error) for error in errors})


@dataclass(frozen=True)
class CacheIndex:
    """Index of some segments, in memory.

    Args:
        index: Rows of `schemas.INDEX`, the newest segment first. `file` is a position in `files`.
        files: Files of the segments, with names relative to the cache's folder.
    """

    index: pa.Table
    files: tuple[StoredFile, ...] = ()

    @classmethod
    def empty(cls) -> Self:
        """Return an index without rows."""
        return cls(arrow_schema(INDEX).empty_table())

    def find(self, inventory: pa.Table) -> pa.Array:
        """Return the row of the index for each object of an inventory, int64; null if there is none.

        A row matches if key, ETag and size are equal, because S3 changes an object's ETag with its bytes. An object
        under a new key also matches a row with equal ETag and size, if that ETag is the MD5 of the bytes. Other ETags
        (multipart uploads, SSE-KMS, SSE-C) do not identify the content:
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
        """
        by_key = self._if_unchanged(inventory, pc.index_in(inventory["key"], value_set=self.index["key"]))
        is_missing = pc.is_null(by_key)
        missing = inventory.filter(is_missing)
        if not missing.num_rows:
            return by_key
        has_etag = pc.is_in(self.index["etag"], value_set=missing["etag"])
        candidates = pc.indices_nonzero(pc.and_(self.index["by_content"], has_etag))
        nth = pc.index_in(missing["etag"], value_set=self.index["etag"].take(candidates))
        return pc.replace_with_mask(by_key, is_missing, self._if_unchanged(missing, candidates.take(nth)))

    def rows(self, positions: pa.Array) -> pa.Table:
        """Return the columns `OUTCOME_COLUMNS` of rows of the index."""
        return self.index.select(OUTCOME_COLUMNS).take(positions)

    def without_transient(self) -> Self:
        """Return the index without rejections that may not occur again."""
        is_transient = pc.is_in(self.index["reason"], value_set=pa.array(TRANSIENT_REASONS))
        return replace(self, index=self.index.filter(pc.invert(is_transient)))

    def _if_unchanged(self, inventory: pa.Table, positions: pa.Array) -> pa.Array:
        """Replace positions of rows with another ETag or size by null."""
        at = arrow.combine_chunks(positions).cast(pa.int64())
        etag, size = (pc.equal(inventory[name], self.index[name].take(at)) for name in ("etag", "size"))
        return pc.if_else(arrow.combine_chunks(pc.and_(etag, size)), at, pa.scalar(None, pa.int64()))


@dataclass(frozen=True)
class FeatureCache:
    """The feature cache of one configuration.

    Args:
        folder: URI of the folder with the segments.
        about: Description of the configuration, for users.
    """

    folder: str
    about: Mapping[str, Any]

    @classmethod
    def of(
        cls, root: str, arguments: Arguments, model: Weights | None, environment: Environment = THIS_MACHINE
    ) -> Self:
        """Return the cache for the configuration of a run. Each configuration has its own folder.

        Args:
            root: URI of the caches' root folder.
            arguments: Arguments of the run.
            model: Model of the family `onnx`, or `None` without that family.
            environment: The machines that extract the features.
        """
        about = {
            "features": list(arguments.features),
            "include_pixels": arguments.include_pixels,
            "max_image_bytes": arguments.max_image_bytes,
            "max_image_pixels": arguments.max_image_pixels,
            "model": model and model.sha256,
            "columns": str(arrow_schema(stored_columns(include_pixels=arguments.include_pixels))),
            **fingerprint(arguments.features, environment),
        }
        digest = sha256(json.dumps({"format": FORMAT, **about}, sort_keys=True).encode()).hexdigest()
        return cls(f"{root.rstrip('/')}/{digest[:16]}", about)

    def new_segment_name(self, run: str) -> str:
        """Return a unique name for a new segment."""
        return f"{run}-{secrets.token_hex(4)}"

    def complete(self, segment: CacheSegment) -> None:
        """Write the manifest of a segment, which makes it valid. All its files must have been written."""
        object_store.write_bytes(f"{self.folder}/{segment.name}", MANIFEST, segment.to_bytes())

    def use(self, ignored: Collection[str] = ()) -> list[CacheSegment]:
        """Return the segments to read, the newest first, and record the time of use.

        Args:
            ignored: Names of segments to leave out.
        """
        about = json.dumps(dict(self.about), indent=1).encode()
        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(object_store.write_bytes, self.folder, ABOUT, about)
            segments = [segment for segment in self.segments() if segment.name not in ignored]
            writing.result()
        return segments

    def load(self, segments: Sequence[CacheSegment]) -> CacheIndex:
        """Read the index of segments without transient rejections. Discard damaged segments."""
        index, damaged = self._read(segments)
        if damaged:
            self.discard(DamagedCacheError.of(damaged).damage)
        return index.without_transient()

    def discard(self, damage: Mapping[str, str]) -> None:
        """Log damaged segments and remove their manifests, so that no later run reads them.

        Args:
            damage: Damage of each segment by its name, as one sentence.
        """
        for name, why in damage.items():
            self._log_ignored(name, why)
            try:
                object_store.remove(self.folder, f"{name}/{MANIFEST}")
            except PermissionDeniedError as error:
                _log.warning("The manifest of the segment %s cannot be removed: %s", name, error)

    def segments(self) -> list[CacheSegment]:
        """Return the complete segments that no other segment supersedes, the newest first."""
        listed = object_store.list_files(self.folder)
        manifests = [name for name in listed if name.endswith(f"/{MANIFEST}")]
        complete = [
            segment
            for segment in _map_concurrently(self._read_manifest, manifests)
            if segment and _is_complete(segment, listed)
        ]
        superseded = {name for segment in complete for name in segment.supersedes}
        current = [segment for segment in complete if segment.name not in superseded]
        return sorted(current, key=lambda segment: (segment.written_at, segment.name), reverse=True)

    def read(self, segments: Sequence[CacheSegment]) -> CacheIndex:
        """Read the index of some segments.

        Raises:
            DamagedCacheError: An index is missing or damaged.
        """
        index, damaged = self._read(segments)
        if damaged:
            raise DamagedCacheError.of(damaged)
        return index

    def iter_index(self) -> Iterator[pa.Table]:
        """Yield the rows of all segments without transient rejections, one part at a time. Write nothing.

        Raises:
            DamagedCacheError: An index is missing or damaged.
        """
        parts = [(segment.name, part, 0) for segment in self.segments() for part in segment.parts]
        for index in prefetch_map(self._read_index, parts, _MAX_CONCURRENT_READS):
            if isinstance(index, DamagedFileError):
                raise DamagedCacheError.of([index])
            yield CacheIndex(index).without_transient().index

    def is_worth_keeping(self, segment: CacheSegment) -> bool:
        """Return whether a segment has features, or rejections that will occur again.

        Raises:
            DamagedFileError: An index is missing or damaged.
        """
        parts = ((segment.name, part, 0) for part in segment.parts)
        return segment.rows > 0 or any(self.read_parts([part]).without_transient().index.num_rows for part in parts)

    def read_parts(self, parts: Sequence[tuple[str, StoredPart, int]]) -> CacheIndex:
        """Read the index of some parts of segments, without their files.

        Args:
            parts: Name of the segment, part, and number to add to the numbers of the part's files.

        Raises:
            DamagedFileError: An index is missing or damaged.
        """
        rows = [CacheIndex.empty().index]
        for index, (_, _, first_file) in zip(_map_concurrently(self._read_index, parts), parts, strict=True):
            if isinstance(index, DamagedFileError):
                raise index
            rows.append(_shift_files(index, first_file))
        return CacheIndex(pa.concat_tables(rows))

    def _read(self, segments: Sequence[CacheSegment]) -> tuple[CacheIndex, list[DamagedFileError]]:
        """Read the index of the segments without damaged ones. Return the damage too."""
        parts = [(segment.name, part, 0) for segment in segments for part in segment.parts]
        indexes = _map_concurrently(self._read_index, parts)
        damage = [index for index in indexes if isinstance(index, DamagedFileError)]
        damaged = {error.name.partition("/")[0] for error in damage}
        files: list[StoredFile] = []
        rows = [CacheIndex.empty().index]
        for (segment, part, _), index in zip(parts, indexes, strict=True):
            if segment not in damaged:
                rows.append(_shift_files(index, len(files)))
                files.extend(replace(file, name=f"{segment}/{file.name}") for file in part.files)
        return CacheIndex(pa.concat_tables(rows), tuple(files)), damage

    def _log_ignored(self, segment: str, why: str) -> None:
        _log.warning(
            "Ignored the segment %s of the feature cache %s: %s Its images are extracted again.",
            segment,
            self.folder,
            why,
        )

    def _read_manifest(self, name: str) -> CacheSegment | None:
        segment = name.removesuffix(f"/{MANIFEST}")
        try:
            return CacheSegment.from_bytes(segment, object_store.read_bytes(self.folder, name))
        except FileNotFoundError:  # superseded, and removed by `vacuum` after it was listed
            return None
        except DamagedDocumentError as error:
            self._log_ignored(segment, f"{MANIFEST} is damaged: {error}.")
            return None

    def _read_index(self, segment_part: tuple[str, StoredPart, int]) -> pa.Table | DamagedFileError:
        segment, part, _ = segment_part
        try:
            data = blocks.read(self.folder, f"{segment}/{part.index}", [Block(part.size, part.digest)])
        except DamagedFileError as error:
            return error
        return arrow.from_parquet(data).cast(arrow_schema(INDEX))


def _part(index: str, size: int, digest: str, files: Sequence[Mapping[str, Any]]) -> StoredPart:
    return StoredPart(index, size, digest, tuple(_file(**file) for file in files))


def _file(blocks: Sequence[Sequence[Any]], **fields: Any) -> StoredFile:  # noqa: ANN401 - values of JSON
    return StoredFile(**fields, blocks=tuple(Block(*block) for block in blocks))


def _is_complete(segment: CacheSegment, listed: Mapping[str, int]) -> bool:
    """Return whether all files of a segment exist with the size in its manifest. Log a warning if they do not."""
    sizes = {part.index: part.size for part in segment.parts}
    sizes.update({file.name: file.size for part in segment.parts for file in part.files})
    damaged = [name for name, size in sizes.items() if listed.get(f"{segment.name}/{name}") != size]
    if damaged:
        _log.warning(
            "Ignored the segment %s of the feature cache: %d of its files are missing or have another size.",
            segment.name,
            len(damaged),
        )
    return not damaged


def _shift_files(index: pa.Table, offset: int) -> pa.Table:
    """Add an offset to the column `file` of an index."""
    column = index.schema.get_field_index("file")
    return index.set_column(column, index.schema.field(column), pc.add(index["file"], pa.scalar(offset, pa.int32())))


def _map_concurrently(call: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
    """Make I/O-bound calls in threads and return their results in order."""
    with ThreadPoolExecutor(_MAX_CONCURRENT_READS) as threads:
        return list(threads.map(call, arguments))
