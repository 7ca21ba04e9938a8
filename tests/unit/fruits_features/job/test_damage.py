"""Damage that any of several tasks finds reaches the driver."""

import operator

import pytest

from fruits_features.cache.store import DamagedCacheError
from fruits_features.io.blocks import DamagedFileError
from fruits_features.job.damage import Damage, MergeUndamaged, ReportDamage, undamaged

MERGE = MergeUndamaged(operator.add)


def damage(*names: str) -> Damage:
    return Damage(tuple(DamagedFileError(f"{name}/index.parquet", "it is missing") for name in names))


def found(result: int | Damage) -> set[str]:
    with pytest.raises(DamagedCacheError) as raised:
        undamaged([result])
    return set(raised.value.damage)


def test_undamaged_results_are_merged() -> None:
    assert undamaged([MERGE(1, 2)]) == [3]


@pytest.mark.parametrize(
    ("one", "other", "segments"),
    [
        (damage("a"), 2, {"a"}),
        (1, damage("b"), {"b"}),
        (damage("a"), damage("b", "c"), {"a", "b", "c"}),
    ],
)
def test_damage_of_either_result_is_kept(one: int | Damage, other: int | Damage, segments: set[str]) -> None:
    assert found(MERGE(one, other)) == segments


def test_damage_of_all_tasks_is_reported_at_once() -> None:
    with pytest.raises(DamagedCacheError) as raised:
        undamaged([damage("a"), 1, damage("b")])

    assert set(raised.value.damage) == {"a", "b"}


def test_other_errors_are_not_damage() -> None:
    with pytest.raises(ZeroDivisionError):
        ReportDamage(lambda _: 1 / 0)(None)
