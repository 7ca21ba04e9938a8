"""Work in background threads."""

import threading
from contextlib import closing

import pytest

from fruits_features.io.prefetch import BackgroundWriter, prefetch_map


@pytest.mark.parametrize("ahead", [1, 2])
def test_prefetch_map_computes_the_given_number_of_results_ahead(ahead: int) -> None:
    started = {number: threading.Event() for number in range(4)}

    def compute(number: int) -> int:
        started[number].set()
        return number

    results = prefetch_map(compute, range(4), ahead)

    assert next(results) == 0
    assert all(started[number].wait(10) for number in range(1, ahead + 1))
    assert not started[ahead + 1].is_set()
    assert list(results) == [1, 2, 3]


def test_prefetch_map_raises_the_error_of_a_call_at_its_place() -> None:
    results = prefetch_map(lambda number: 1 // number, [1, 0])

    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_background_writer_runs_all_calls_in_order_before_close_returns() -> None:
    done: list[int] = []

    with closing(BackgroundWriter()) as writer:
        for number in range(20):
            writer.call(done.append, number)

    assert done == list(range(20))


def test_background_writer_raises_the_error_of_the_last_call_on_close() -> None:
    writer = BackgroundWriter()
    writer.call(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        writer.close()
