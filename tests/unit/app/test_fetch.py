"""Fetching from an object store that needs no network."""

import pytest
from obstore import put
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from fruits_features import fetch
from fruits_features.fetch import Fetcher, Wanted
from fruits_features.rejections import Reason, Rejected


def stored(key: str, data: bytes) -> tuple[MemoryStore, Wanted]:
    store = MemoryStore()
    etag = put(store, key, data)["e_tag"] or ""
    return store, Wanted(key, len(data), etag.strip('"'))


@pytest.mark.parametrize("key", ["images/Lime/a.jpg", "images/Açaí #1/100% a+b.jpg", "images/Apple Golden 2/%20.jpg"])
def test_fetch_of_any_key_gives_its_bytes(key: str) -> None:
    store, wanted = stored(key, b"bytes")

    assert Fetcher(store, max_bytes=5).fetch([wanted]) == [b"bytes"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": "images/gone.jpg"}, Reason.GONE),
        ({"etag": "another"}, Reason.CHANGED),
        ({"size": 4}, Reason.CHANGED),
        ({"size": 6}, Reason.TOO_MANY_BYTES),
        ({"size": 0}, Reason.EMPTY),
        ({"key": "images//a.jpg"}, Reason.UNUSABLE_KEY),
        ({"key": "images/../a.jpg"}, Reason.UNUSABLE_KEY),
    ],
)
def test_fetch_of_what_is_not_as_inventoried_is_rejected(changes: dict[str, object], reason: Reason) -> None:
    store, wanted = stored("images/a.jpg", b"bytes")

    (outcome,) = Fetcher(store, max_bytes=5).fetch([wanted._replace(**changes)])  # type: ignore[arg-type]

    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason


class Failing:
    """A store whose first answers fail."""

    def __init__(self, store: MemoryStore, failures: int) -> None:
        self.store, self.failures = store, failures

    async def get_async(self, key: str) -> object:
        """Fail, or answer."""
        if self.failures:
            self.failures -= 1
            raise GenericError("503 SlowDown")
        return await self.store.get_async(key)


def test_fetch_of_an_object_that_fails_at_first_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PAUSES_S", (0.0, 0.0, 0.0))
    store, wanted = stored("a.jpg", b"bytes")

    assert Fetcher(Failing(store, 3), max_bytes=5).fetch([wanted]) == [b"bytes"]  # type: ignore[arg-type]


def test_fetch_from_a_bucket_that_keeps_failing_raises_instead_of_blaming_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "_PAUSES_S", (0.0, 0.0, 0.0))
    store, wanted = stored("a.jpg", b"bytes")

    with pytest.raises(GenericError, match="SlowDown"):
        Fetcher(Failing(store, 4), max_bytes=5).fetch([wanted])  # type: ignore[arg-type]
