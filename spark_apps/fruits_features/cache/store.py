"""The store of described images: what runs remember of each other, so that an image is described once.

Below the store's root lies one folder for each way to describe (families, limits, model, code), and in it one folder, a
volume, for each run that had something to describe. A volume is complete once its manifest is there, written last in
one PUT; whatever a crashed run left has none and is never read. Volumes are never written again: each try of a run
makes one of its own, so that a try that was given up, but still writes, harms nobody.

Knows no Spark and no image. What is in the files is `parts`' business, which rows a run takes from them `assembly`'s.
"""

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.contract.arguments import Arguments
from fruits_features.contract.rejections import Reason
from fruits_features.extraction.families.onnx import Weights
from fruits_features.extraction.fingerprint import fingerprint
from fruits_features.io import arrow, object_store
from fruits_features.schemas import INDEX, arrow_schema, stored_columns

FORMAT = 1
"""Of volumes; grows when this version could not read an older one's."""
MANIFEST = "manifest.json"
ABOUT = "about.json"
"""What a store's folder is for; written anew by each run that uses it, so that its age tells when that was last."""

TRANSIENT_REASONS = tuple(
    str(reason)
    for reason in (
        Reason.NO_CATEGORY,
        Reason.GONE,
        Reason.CHANGED,
        Reason.FORBIDDEN,
        Reason.UNAVAILABLE,
        Reason.DECODER_CRASH,
    )
)
"""Reasons that are not of the object itself, but of S3, of where the images begin, or perhaps of a machine."""

_AT_ONCE = 16
"""Small objects read at the same time."""

_A = TypeVar("_A")
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredFile:
    """Some described images, in the order of the inventory that they were described for.

    Args:
        name: its name in the volume.
        rows: how many images.
        size: in bytes, as stored.
        memory: in bytes, as a table.
    """

    name: str
    rows: int
    size: int
    memory: int


@dataclass(frozen=True)
class StoredPart:
    """What one task has added to a volume.

    Args:
        index: name of the index of its rows, which counts `files` from 0 on.
        size: of the index, in bytes.
        files: its described images; none where all were rejected.
    """

    index: str
    size: int
    files: tuple[StoredFile, ...]


@dataclass(frozen=True)
class CacheSegment:
    """A complete folder of the store.

    Args:
        name: of the folder.
        run: that wrote it.
        parts: what is in it.
        supersedes: names of volumes whose rows are all in this one, or no longer wanted.
        written_at: when it was complete; ISO 8601, UTC.
    """

    name: str
    run: str
    parts: tuple[StoredPart, ...]
    supersedes: tuple[str, ...] = ()
    written_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))

    @property
    def rows(self) -> int:
        """How many described images it has."""
        return sum(file.rows for part in self.parts for file in part.files)

    def to_bytes(self) -> bytes:
        """Write its manifest."""
        told = {name: value for name, value in asdict(self).items() if name != "name"}
        return json.dumps({"format": FORMAT, **told}, indent=1).encode()

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Self | None:
        """Read its manifest; `None` for one of another format."""
        told = json.loads(data)
        if told.pop("format") != FORMAT:
            return None
        parts = tuple(_part(**part) for part in told.pop("parts"))
        return cls(name, parts=parts, supersedes=tuple(told.pop("supersedes")), **told)


@dataclass(frozen=True)
class CacheIndex:
    """What volumes know: their index in memory, and the files that it counts.

    Args:
        index: rows of `schemas.INDEX`, the newest volume's first; `file` counts `files`.
        files: names from the store's folder on.
    """

    index: pa.Table
    files: tuple[StoredFile, ...] = ()

    @classmethod
    def empty(cls) -> Self:
        """Know nothing."""
        return cls(arrow_schema(INDEX).empty_table())

    def find(self, inventory: pa.Table) -> pa.Array:
        """Tell for each object of an inventory which row of the index is about it; null for none.

        That is a row of the same key, ETag and size: S3 changes an object's ETag with its bytes. For an object under a
        new key it is a row of the same ETag and size, if that ETag was seen to be the MD5 of those bytes: other ETags
        (of uploads in parts, under SSE-KMS or SSE-C) say nothing of an object elsewhere.
        """
        found = self._if_same(inventory, pc.index_in(inventory["key"], value_set=self.index["key"]))
        missing = pc.is_null(found)
        wanted = inventory.filter(missing)
        if not wanted.num_rows:
            return found
        known = pc.is_in(self.index["etag"], value_set=wanted["etag"])
        candidates = pc.indices_nonzero(pc.and_(self.index["by_content"], known))
        nth = pc.index_in(wanted["etag"], value_set=self.index["etag"].take(candidates))
        return pc.replace_with_mask(found, missing, self._if_same(wanted, candidates.take(nth)))

    def rows(self, positions: pa.Array) -> pa.Table:
        """Give rows of the index: where they lie, or why they were rejected."""
        return self.index.select(["file", "row", "stage", "reason", "detail"]).take(positions)

    def without_transient(self) -> Self:
        """Leave out rejections that may be otherwise the next time."""
        passing = pc.is_in(self.index["reason"], value_set=pa.array(TRANSIENT_REASONS))
        return replace(self, index=self.index.filter(pc.invert(passing)))

    def concat(self, other: Self) -> Self:
        """Add what others know, behind."""
        shifted = _count_files_from(len(self.files), other.index)
        return replace(self, index=pa.concat_tables([self.index, shifted]), files=(*self.files, *other.files))

    def _if_same(self, inventory: pa.Table, positions: pa.Array) -> pa.Array:
        """Drop positions of rows with another ETag or size."""
        at = arrow.combine_chunks(positions).cast(pa.int64())
        etag, size = (pc.equal(inventory[name], self.index[name].take(at)) for name in ("etag", "size"))
        return pc.if_else(arrow.combine_chunks(pc.and_(etag, size)), at, pa.scalar(None, pa.int64()))


@dataclass(frozen=True)
class FeatureCache:
    """The store of one way to describe.

    Args:
        folder: where its volumes lie.
        about: what this way to describe is, for people.
    """

    folder: str
    about: Mapping[str, Any]

    @classmethod
    def of(cls, root: str, arguments: Arguments, model: Weights | None) -> Self:
        """Find the store for what a run asks for; images described in another way never mix with it."""
        about = {
            "features": list(arguments.features),
            "include_pixels": arguments.include_pixels,
            "max_image_bytes": arguments.max_image_bytes,
            "max_image_pixels": arguments.max_image_pixels,
            "model": model and model.sha256,
            "columns": str(arrow_schema(stored_columns(include_pixels=arguments.include_pixels))),
            **fingerprint(arguments.features),
        }
        digest = sha256(json.dumps({"format": FORMAT, **about}, sort_keys=True).encode()).hexdigest()
        return cls(f"{root.rstrip('/')}/{digest[:16]}", about)

    def begin(self, run: str) -> str:
        """Name a new volume, that nobody else writes to."""
        return f"{run}-{secrets.token_hex(4)}"

    def complete(self, volume: CacheSegment) -> None:
        """Make a volume count, all of whose files have been written."""
        object_store.write_bytes(f"{self.folder}/{volume.name}", MANIFEST, volume.to_bytes())

    def load(self) -> CacheIndex:
        """Read what holds for every run, and leave word that the store is in use."""
        about = json.dumps(dict(self.about), indent=1).encode()
        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(object_store.write_bytes, self.folder, ABOUT, about)
            known = self.read(self.segments()).without_transient()
            writing.result()
        return known

    def segments(self) -> list[CacheSegment]:
        """List the complete volumes that no other one supersedes, the newest first."""
        listed = object_store.list_files(self.folder)
        manifests = [name for name in listed if name.endswith(f"/{MANIFEST}")]
        whole = [volume for volume in _at_once(self._volume, manifests) if volume and _is_whole(volume, listed)]
        gone = {name for volume in whole for name in volume.supersedes}
        counting = [volume for volume in whole if volume.name not in gone]
        return sorted(counting, key=lambda volume: (volume.written_at, volume.name), reverse=True)

    def read(self, volumes: Sequence[CacheSegment]) -> CacheIndex:
        """Read volumes' indexes."""
        parts = [(volume.name, part) for volume in volumes for part in volume.parts]
        files: list[StoredFile] = []
        rows = [CacheIndex.empty().index]
        for (volume, part), index in zip(parts, _at_once(self._index, parts), strict=True):
            rows.append(_count_files_from(len(files), index))
            files.extend(replace(file, name=f"{volume}/{file.name}") for file in part.files)
        return CacheIndex(pa.concat_tables(rows), tuple(files))

    def _volume(self, name: str) -> CacheSegment | None:
        try:
            return CacheSegment.from_bytes(
                name.removesuffix(f"/{MANIFEST}"), object_store.read_bytes(self.folder, name)
            )
        except FileNotFoundError:  # superseded long ago, and swept since it was listed
            return None

    def _index(self, part: tuple[str, StoredPart]) -> pa.Table:
        index = arrow.from_parquet(object_store.read_bytes(self.folder, f"{part[0]}/{part[1].index}"))
        return index.cast(arrow_schema(INDEX))


def _part(index: str, size: int, files: Sequence[Mapping[str, Any]]) -> StoredPart:
    return StoredPart(index, size, tuple(StoredFile(**file) for file in files))


def _is_whole(volume: CacheSegment, listed: Mapping[str, int]) -> bool:
    """Tell whether everything that the manifest names is there in its size; what is not is not trusted at all."""
    sizes = {part.index: part.size for part in volume.parts}
    sizes.update({file.name: file.size for part in volume.parts for file in part.files})
    odd = [name for name, size in sizes.items() if listed.get(f"{volume.name}/{name}") != size]
    if odd:
        _log.warning("The store's volume %s is ignored: %d of its files are gone or cut short.", volume.name, len(odd))
    return not odd


def _count_files_from(first: int, index: pa.Table) -> pa.Table:
    place = index.schema.get_field_index("file")
    return index.set_column(place, index.schema.field(place), pc.add(index["file"], pa.scalar(first, pa.int32())))


def _at_once(call: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
    """Make several calls that mostly wait, in the order of their arguments."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(call, arguments))
