"""Rates and places of clients."""

from __future__ import annotations

import pytest

from fruits_features.client.serve import limits
from fruits_features.client.serve.limits import RateLimiter, Refusal, Slots


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_client_above_its_rate_is_refused_until_the_named_time() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=3, clock=clock)
    for _ in range(3):
        limiter.take("a")

    with pytest.raises(Refusal, match="More than 3 photos a minute; try again in 20 seconds") as refusal:
        limiter.take("a")

    assert (refusal.value.status, refusal.value.retry_after_s) == (429, 20)
    limiter.take("b")
    clock.now = 19.9
    with pytest.raises(Refusal):
        limiter.take("a")
    clock.now = 20.1
    limiter.take("a")


def test_refused_requests_do_not_prolong_the_wait() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=1, clock=clock)
    limiter.take("a")
    for clock.now in range(1, 60, 2):
        with pytest.raises(Refusal):
            limiter.take("a")

    clock.now = 60.5
    limiter.take("a")


def test_client_that_was_inactive_saves_at_most_one_minute() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=2, clock=clock)
    clock.now = 3600.0
    for _ in range(2):
        limiter.take("a")

    with pytest.raises(Refusal):
        limiter.take("a")


def test_memory_of_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 2)
    limiter = RateLimiter(per_minute=1, clock=Clock())
    for client in ("a", "b", "c"):
        limiter.take(client)

    limiter.take("a")  # was forgotten
    with pytest.raises(Refusal):
        limiter.take("c")


def test_places_are_bounded_for_all_clients_and_for_each() -> None:
    slots = Slots(total=3, per_client=2)
    with slots.taken("a"), slots.taken("a"):
        with pytest.raises(Refusal) as refusal, slots.taken("a"):
            pass
        assert (refusal.value.status, refusal.value.retry_after_s) == (429, 1)
        with slots.taken("b"), pytest.raises(Refusal), slots.taken("c"):
            pass
        with slots.taken("c"):
            pass


def test_place_is_free_again_after_an_error() -> None:
    slots = Slots(total=1, per_client=1)
    with pytest.raises(ConnectionError), slots.taken("a"):
        raise ConnectionError

    with slots.taken("a"):
        pass


def test_places_of_a_client_count_until_each_is_free() -> None:
    slots = Slots(total=10, per_client=2)

    with slots.taken("one"):
        with slots.taken("one"):
            pass
        with slots.taken("one"), pytest.raises(Refusal), slots.taken("one"):
            pass
