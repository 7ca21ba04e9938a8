"""Doing one thing while another is used."""

import threading
from contextlib import closing

import pytest

from fruits_features.io.prefetch import BackgroundWriter, prefetch_map


@pytest.mark.parametrize("ahead", [1, 2])
def test_map_ahead_computes_so_many_results_while_the_last_is_used(ahead: int) -> None:
    begun = {number: threading.Event() for number in range(4)}

    def compute(number: int) -> int:
        begun[number].set()
        return number

    results = prefetch_map(compute, range(4), ahead)

    assert next(results) == 0
    assert all(begun[number].wait(10) for number in range(1, ahead + 1))
    assert not begun[ahead + 1].is_set()
    assert list(results) == [1, 2, 3]


def test_map_ahead_raises_what_a_computation_raises_in_its_place() -> None:
    results = prefetch_map(lambda number: 1 // number, [1, 0])

    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_behind_runs_calls_in_order_and_has_run_all_when_closed() -> None:
    done: list[int] = []

    with closing(BackgroundWriter()) as behind:
        for number in range(20):
            behind.call(done.append, number)

    assert done == list(range(20))


def test_behind_raises_the_error_of_the_last_call_when_closed() -> None:
    behind = BackgroundWriter()
    behind.call(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        behind.close()
