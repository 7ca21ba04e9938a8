"""The table of prices: which instance types a cluster may have, and what an hour of each costs.

`prices.toml` is ours; `FRUITS_PRICES` names another one, for another region, other types or a negotiated price.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - pydantic reads it
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from include.settings import Architecture  # noqa: TC001 - pydantic reads it

Market = Literal["ON_DEMAND", "SPOT"]

OURS = Path(__file__).parent / "prices.toml"


class PricesError(ValueError):
    """The table cannot be used; the message names file and place."""


@dataclass(frozen=True)
class InstanceType:
    """A type of EC2 instance.

    Args:
        name: EC2's.
        architecture: of its processors.
        vcpus: how many virtual CPUs it has.
        yarn_memory_mb: memory that YARN has for containers on a node of EMR, in MB.
        ec2: dollars an hour, on demand.
        emr: dollars an hour that EMR takes on top, in either market.
    """

    name: str
    architecture: Architecture
    vcpus: int
    yarn_memory_mb: int
    ec2: float
    emr: float


@dataclass(frozen=True)
class PriceTable:
    """What instances cost in one region.

    Args:
        region: where.
        date: when the prices were looked up.
        source: where they are from.
        spot_share: what a spot instance is taken to cost, as a share of the price on demand; the market knows better.
        types: those that a cluster may have.
    """

    region: str
    date: date
    source: str
    spot_share: float
    types: tuple[InstanceType, ...]

    @property
    def name(self) -> str:
        """The table in few words: where and when."""
        return f"{self.region}, {self.date:%Y-%m-%d}"

    def hourly(self, one: InstanceType, market: Market) -> float:
        """Dollars for an hour of an instance."""
        return one.emr + one.ec2 * (self.spot_share if market == "SPOT" else 1.0)

    def named(self, name: str) -> InstanceType | None:
        """The type of that name; `None` where the table does not have it."""
        return next((one for one in self.types if one.name == name), None)


@cache
def price_table(file: Path | None = None) -> PriceTable:
    """Read a table of prices.

    Args:
        file: ours by default.

    Raises:
        PricesError: there is no such file, or it is no table of prices.
    """
    file = file or OURS
    try:
        return TypeAdapter(PriceTable).validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise PricesError(f"Cannot read the table of prices {file}: {error.strerror}; see FRUITS_PRICES.") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise PricesError(f"{file} is no table of prices like {OURS.name}: {error}") from error
