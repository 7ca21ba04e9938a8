"""Prices, estimates and costs, compared with manual calculations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from include.emr.costs import TooExpensiveError, actual, by_task, check, estimate
from include.emr.prices import DEFAULT_FILE, PricesError, price_table
from include.emr.sizing import Nodes, fleets

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """
region = "eu-west-1"
date = 2026-01-31
source = "made up"
spot_share = 0.5
types = [
    {name = "p.xlarge", architecture = "arm64", vcpus = 4, yarn_memory_mb = 11712, ec2 = 0.8, emr = 0.2},
    {name = "a.2xlarge", architecture = "arm64", vcpus = 8, yarn_memory_mb = 23424, ec2 = 1.6, emr = 0.4},
    {name = "b.4xlarge", architecture = "arm64", vcpus = 16, yarn_memory_mb = 54272, ec2 = 4.0, emr = 1.0},
]
"""
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "prices.toml"
    file.write_text(TABLE)
    return file


def _instance(kind: str, market: str, *, minutes: float | None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    ended = {} if minutes is None else {"EndDateTime": NOON + timedelta(minutes=minutes)}
    timeline = {"CreationDateTime": NOON, **ended}
    return {"Ec2InstanceId": "i-1", "InstanceType": kind, "Market": market, "Status": {"Timeline": timeline}, **more}


def test_estimate_uses_the_most_expensive_type_of_each_fleet(file: Path) -> None:
    prices = price_table(file)
    expected = estimate(fleets(Nodes(core=1, task=2), "arm64", prices), 30, prices)

    # half an hour of: primary 1.00, core a.2xlarge 2.00, task b.4xlarge at half of 4.00 + 1.00, or all of it
    assert (expected.minutes, expected.dollars, expected.most_dollars) == (30, 3.0, 4.0)


@pytest.mark.parametrize("max_cost", [None, 4.0])
def test_estimate_within_the_limit_is_accepted(file: Path, max_cost: float | None) -> None:
    prices = price_table(file)

    check(estimate(fleets(Nodes(core=1, task=2), "arm64", prices), 30, prices), max_cost)


def test_estimate_above_the_limit_is_rejected_with_both_costs_and_the_options(file: Path) -> None:
    prices = price_table(file)
    expected = estimate(fleets(Nodes(core=1, task=2), "arm64", prices), 30, prices)

    with pytest.raises(TooExpensiveError) as error:
        check(expected, 3.99)

    assert str(error.value) == (
        "The cluster would cost about $3.00 for 30 minutes, and up to $4.00 without spot capacity; `max_cost` allows "
        "$3.99. No cluster was created. Increase `max_cost`, choose a smaller `cluster_size`, or increase "
        "`target_minutes` of `auto`."
    )


def test_cost_adds_up_instances_by_type_and_market(file: Path) -> None:
    instances = [
        _instance("p.xlarge", "ON_DEMAND", minutes=30),
        _instance("a.2xlarge", "SPOT", minutes=60),
        _instance("a.2xlarge", "SPOT", minutes=15),
        _instance("a.2xlarge", "ON_DEMAND", minutes=60),
    ]
    cost = actual(instances, price_table(file), NOON)

    assert [(one.type, one.market, one.instances, one.hours, one.dollars) for one in cost.hours] == [
        ("a.2xlarge", "ON_DEMAND", 1, 1.0, 2.0),
        ("a.2xlarge", "SPOT", 2, 1.25, 1.5),
        ("p.xlarge", "ON_DEMAND", 1, 0.5, 0.5),
    ]
    assert (cost.dollars, cost.prices, cost.spot_share) == (4.0, "eu-west-1, 2026-01-31", 0.5)


def test_cost_of_a_short_instance_is_that_of_a_minute(file: Path) -> None:
    assert actual([_instance("p.xlarge", "ON_DEMAND", minutes=0.1)], price_table(file), NOON).dollars == 0.0167


def test_cost_of_an_instance_that_still_runs_is_counted_until_now(file: Path) -> None:
    now = NOON + timedelta(hours=2)

    assert actual([_instance("p.xlarge", "ON_DEMAND", minutes=None)], price_table(file), now).dollars == 2.0


def test_instance_that_never_started_costs_nothing(file: Path) -> None:
    requested = _instance("a.2xlarge", "SPOT", minutes=60)
    del requested["Ec2InstanceId"]

    assert actual([requested], price_table(file), NOON).dollars == 0


def test_cost_with_a_type_that_has_no_price_is_unknown_and_names_it(file: Path) -> None:
    instances = [_instance("p.xlarge", "ON_DEMAND", minutes=30), _instance("z9.large", "ON_DEMAND", minutes=30)]
    cost = actual(instances, price_table(file), NOON)

    assert (cost.dollars, cost.unpriced) == (None, ["z9.large"])


def test_cost_by_task_goes_to_the_tasks_of_the_cluster_and_adds_up() -> None:
    shared = by_task(3.0, {"publish": 5.0, "create_cluster": 1.0, "cluster_ready": 2.0, "featurize_and_reduce": 9.0})

    assert shared == {"create_cluster": 0.25, "cluster_ready": 0.5, "featurize_and_reduce": 2.25}


def test_default_prices_have_a_source_and_both_architectures() -> None:
    prices = price_table()

    assert prices.region == "eu-west-1"
    assert prices.source
    assert {one.architecture for one in prices.types} == {"arm64", "x86_64"}
    assert all(0 < one.emr < one.ec2 for one in prices.types)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("region =", "is not a table of prices like prices.toml"),
        (TABLE.replace("0.8", '"cheap"'), "types.0.ec2"),
        (TABLE.replace("arm64", "sparc", 1), "types.0.architecture"),
        (TABLE.replace("spot_share", "share"), "spot_share"),
    ],
)
def test_error_of_an_invalid_table_names_file_and_entry(file: Path, text: str, message: str) -> None:
    file.write_text(text)

    with pytest.raises(PricesError, match=message) as error:
        price_table(file)

    assert str(file) in str(error.value)


def test_error_of_a_missing_table_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match=r"nowhere.toml: No such file or directory; correct FRUITS_PRICES"):
        price_table(tmp_path / "nowhere.toml")
    assert DEFAULT_FILE.exists()
