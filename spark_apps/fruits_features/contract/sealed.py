"""JSON documents that contain a digest of their own content, so that a damaged document is found when it is read.

A document of an older version has no digest and is accepted. Uses the standard library only.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

DIGEST = "digest"
"""Field with the digest of all other fields: `sha256:` and 64 hexadecimal digits."""


class DamagedDocumentError(ValueError):
    """A document cannot be read. The message is the end of a sentence: "it is not JSON"."""


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the digest of its content. Replace an earlier digest.

    >>> sorted(seal({"run": "r"}))
    ['digest', 'run']
    """
    content = {name: value for name, value in document.items() if name != DIGEST}
    return {**content, DIGEST: _digest(content)}


def decode(data: bytes) -> dict[str, Any]:
    """Return the document of JSON bytes, with its digest if it has one.

    Raises:
        DamagedDocumentError: The bytes are not a JSON object, or the digest is that of another content.

    >>> decode(b'{"run": "r"}')
    {'run': 'r'}
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedDocumentError(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise DamagedDocumentError(f"it is a JSON {type(document).__name__}, not an object")
    content = {name: value for name, value in document.items() if name != DIGEST}
    if DIGEST in document and document[DIGEST] != _digest(content):
        raise DamagedDocumentError("its digest does not match its content")
    return document


def _digest(content: Mapping[str, Any]) -> str:
    return f"sha256:{sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"
